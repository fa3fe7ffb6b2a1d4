/* The fields of a request's body -> a request for the scheduler. */
#ifndef SRV_ASK_H
#define SRV_ASK_H

#include "json_in.h"
#include "options.h"
#include "request.h"
#include "runtime/chat.h"

/* A conversation as GLM-4 is to read it. Its texts are borrowed from the body, or listed in `owned`. */
typedef struct srv_conversation {
    const json_t *
            names; /* of the body's messages, where clients know them by others; NULL: "messages[0]" ... */
    glm_message *messages;
    int64_t n_messages;
    int64_t room; /* for messages */
    void **owned;
    int64_t n_owned;
    int64_t owned_room;
    glm_tools *tools;  /* NULL: none */
    char *forced_call; /* NULL: none */
    bool must_call;    /* the answer must call one of the tools, whichever */
    bool calls_once;   /* the answer may call no more than once */
    bool goes_on; /* the last message is the beginning of the answer, which goes on from there */
} srv_conversation;
void srv_conversation_free(srv_conversation *conversation);

/* The body's messages: an array, not empty, within the bound. NULL: `error` says why not. */
const json_t *srv_messages_of(const json_t *body, srv_error *error);
/* For whoever fills a conversation: a new message at its end; and `memory`, to be freed with it. NULL without memory. */
glm_message *srv_conversation_add(srv_conversation *conversation, glm_chat_role role);
void *srv_conversation_own(srv_conversation *conversation, void *memory);
/* Whether there is anything in it: the prompt is without a message of nothing, which cannot be gone on with. */
bool srv_message_says(const glm_message *message);
/* A string, or an array of {"type": "text", "text": ...}, as the content of a message; null is none.
 * `where` names it. */
bool srv_conversation_content(srv_conversation *conversation, const json_t *value,
        const char *where, glm_message *message, srv_error *error);
/* Tools in OpenAI's form; "strict" is read of each, too, or of its function. */
bool srv_conversation_tools(srv_conversation *conversation, const json_t *tools, srv_error *error);
/* The answer must call the tool of that name. */
bool srv_conversation_force(srv_conversation *conversation, const char *name, srv_error *error);
/* The answer must call some tool. */
bool srv_conversation_require(srv_conversation *conversation, srv_error *error);
/* The answer may call none. */
void srv_conversation_forget_tools(srv_conversation *conversation);
/* What the answer is bound to by its tools, and by response_format, which says `form`. */
glm_form_kind srv_conversation_form(const srv_conversation *conversation, glm_form_kind form);
/* The conversation's ids, from [gMASK]<sop> up to where the model speaks. */
bool srv_conversation_render(const srv_conversation *conversation, const srv_options *options,
        glm_ids *out, srv_error *error);
/* Render the conversation as the request's prompt. The request takes over the tools, and what the answer is bound to. */
bool srv_conversation_hand_over(srv_conversation *conversation, const srv_options *options,
        srv_request *request, srv_error *error);

/* Whether the model that the body names is ours; also where it names none. */
bool srv_check_model(const json_t *body, const srv_options *options, srv_error *error);
/* vLLM's min_tokens, behind the bound of that name, which it is not to be above. */
bool srv_read_least(
        const json_t *body, const char *bound, srv_settings *settings, srv_error *error);
/* temperature, top_p, top_k, seed, stop, ... as both of OpenAI's APIs spell them. */
bool srv_read_settings(
        const json_t *body, const srv_options *options, srv_settings *settings, srv_error *error);
/* The answer is a JSON object of the schema, which `field` gave. */
bool srv_bind_schema(
        const json_t *schema, const char *field, srv_settings *settings, srv_error *error);
/* Nothing is asked for that would change the answer and is not there. */
bool srv_check_absent(const json_t *body, srv_error *error);
/* The same of a field that one route alone has not; `instead`: what has it here, or NULL. */
bool srv_check_no(const json_t *body, const char *name, const char *instead, srv_error *error);
/* The field `name` says in a known word how much is to be thought at most, or nothing. */
bool srv_check_effort(const json_t *value, const char *name, srv_error *error);
/* An object's verbosity is absent, or the one there is. */
bool srv_check_verbosity(const json_t *object, srv_error *error);
/* A string or an array of strings: stop texts. */
bool srv_read_stop(const json_t *body, const char *name, srv_settings *settings, srv_error *error);

/* A new request, filled by a function of one API. NULL: `error` says why not. */
typedef bool srv_fill(
        srv_request *request, const json_t *body, const srv_options *options, srv_error *error);
srv_request *srv_ask(srv_api api, srv_fill *fill, const json_t *body, const srv_options *options,
        srv_error *error);

/* The request that a body of that API asks for; new. NULL: `error` says why not. */
srv_request *srv_ask_chat(const json_t *body, const srv_options *options, srv_error *error);
srv_request *srv_ask_completion(const json_t *body, const srv_options *options, srv_error *error);
srv_request *srv_ask_messages(const json_t *body, const srv_options *options, srv_error *error);
srv_request *srv_ask_responses(const json_t *body, const srv_options *options, srv_error *error);

/* Ids of a text, or of an array of ids; [gMASK]<sop> in front where `begins` and they are not there. */
bool srv_read_ids(const json_t *value, const char *name, const srv_options *options, bool begins,
        glm_ids *out, srv_error *error);
/* The conversation of an OpenAI body, or of an Anthropic one. */
bool srv_read_chat(const json_t *body, srv_conversation *conversation, srv_error *error);
bool srv_read_messages(const json_t *body, srv_conversation *conversation, srv_error *error);

#endif
