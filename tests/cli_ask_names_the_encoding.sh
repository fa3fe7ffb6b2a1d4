#!/bin/sh
# A text that is not UTF-8 is refused with the iconv that converts it, by what its bytes look like: Japanese and Korean ones are
# not told to be Chinese, nor Russian ones to be Latin-1; texts in Latin letters are still told that of Latin-1.
#
# Method: a few sentences of each language, alone and in a page of ASCII, converted by iconv(1) into each encoding of it.
. tests/help_cli.sh
make_needle_model

# names ENCODING WHAT TEXT: TEXT in ENCODING is told to be in WHAT
names() {
    for markup in '' 'yes'; do
        {
            [ -z "$markup" ] || printf '<p class="first">%s</p>\n' 1 2 3 4
            printf '%s\n' "$3" | iconv -f UTF-8 -t "$1"
            [ -z "$markup" ] || printf '<p class="last">%s</p>\n' 5 6 7 8
        } >"$work/text" || fail "iconv has no $1"
        expect 2 perplexity -m "$work/model" "$work/text" --quiet
        says err "$2"
    done
}

japanese='吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。コーヒーを飲む。'
names SHIFT_JIS '(if it is Japanese, iconv -f SHIFT_JIS -t UTF-8 converts Shift-JIS)' "$japanese"
names EUC-JP '(if it is Japanese, iconv -f EUC-JP -t UTF-8 converts EUC-JP)' "$japanese"
korean='나는 고양이다. 이름은 아직 없다. 어디서 태어났는지 도무지 짐작이 가지 않는다.'
names EUC-KR '(if it is Korean, iconv -f CP949 -t UTF-8 converts EUC-KR and CP949)' "$korean"
simplified='我是猫。还没有名字。出生在哪里，我一点也不清楚。只记得在昏暗潮湿的地方喵喵地哭过。'
names GB18030 '(if it is Chinese, iconv -f GB18030 -t UTF-8 converts GB 18030 and GBK)' "$simplified"
names GBK '(if it is Chinese, iconv -f GB18030 -t UTF-8 converts GB 18030 and GBK)' "$simplified"
traditional='我是貓。還沒有名字。出生在哪裡，我一點也不清楚。只記得在昏暗潮濕的地方喵喵地哭過。'
names BIG5 '(if it is Chinese, iconv -f BIG5 -t UTF-8 converts Big5)' "$traditional"
names GBK '(if it is Chinese, iconv -f GB18030 -t UTF-8 converts GB 18030 and GBK)' "$traditional"
russian='Я кот. Имени у меня пока нет. Где я родился, понятия не имею, помню только, что плакал в тёмном и сыром месте.
Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему.
Гостиная Анны Павловны начала понемногу наполняться. Приехала высшая знать Петербурга, люди самые разнородные по возрастам.'
names WINDOWS-1251 '(if it is Russian, iconv -f WINDOWS-1251 -t UTF-8 converts Windows-1251)' "$russian"
names KOI8-R '(if it is Russian, iconv -f KOI8-R -t UTF-8 converts KOI8-R)' "$russian"
for latin in 'Ich bin ein Kater. Übrigens heiße ich noch nicht; schön wäre ein Name für mich.' \
    "Je suis un chat. Je n'ai pas encore de nom; où suis-je né? À l'évidence, près d'ici, c'était l'été." \
    'Soy un gato. Aún no tengo nombre. ¿Dónde nací? No lo sé; lloré en algún rincón húmedo, mañana y tarde.' \
    'Jeg er en kat. Jeg har endnu ikke fået et navn. Hvor jeg blev født, det ved jeg ikke: på en mørk, våd ø.'; do
    names LATIN1 '(iconv -f LATIN1 -t UTF-8 converts Latin-1)' "$latin"
done
