#include "cmd_chat_keep.h"

#include <inttypes.h>

#include "base/size.h"
#include "cli_books.h"

/* What the books of conversations say they are of. */
#define SOURCE "glm1m chat"

static rt_status check(const conversation *chat, const glm_cli *named) {
    if (!named->book[0]) return rt_fail(RT_EUSAGE, "/keep: under which name?");
    RT_TRY(kv_book_check_name(named->book));
    if (!glm_engine_plan(chat->engine)->kv_persists)
        return rt_fail(RT_EUSAGE,
                "/keep: nothing of this chat is kept on disk; begun with --kv-disk-dir DIR, or with "
                "--book NAME, it would be");
    if (chat_n_used(chat) <= chat->n_kept) return rt_fail(RT_EUSAGE, "/keep: nothing was said yet");
    return glm_cli_book_spare(named, SOURCE);
}

/* An answer that was stopped leaves a token that the session has not taken in. Where the context is full it goes without: the
 * answer ends there as well. */
static rt_status take_pending(conversation *chat) {
    if (chat->pending < 0 || glm_session_length(chat->session) == chat->context) return RT_OK;
    RT_TRY(glm_decode(&chat->session, &chat->pending, 1));
    chat->pending = -1;
    return RT_OK;
}

static rt_status say_kept(const conversation *chat, const glm_cli *named) {
    char bytes[RT_SIZE_TEXT];
    kv_book book;
    RT_TRY(glm_cli_book_read(named, &book));
    chat_say(chat,
            "kept as %s: %" PRId64 " tokens, %s on disk; chat --book %s, with the same "
            "--kv-disk-dir, goes on with it\n",
            named->book, book.n_tokens, rt_format_bytes(book.stored_bytes, bytes), named->book);
    kv_book_free(&book);
    return RT_OK;
}

rt_status chat_keep(conversation *chat, const char *name) {
    glm_cli named = *chat->cli;
    named.book = name;
    RT_TRY(check(chat, &named));
    RT_TRY(take_pending(chat));
    RT_TRY(glm_session_keep(chat->session, name, "source=" SOURCE "\n"));
    return say_kept(chat, &named);
}
