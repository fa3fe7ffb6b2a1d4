# shellcheck shell=sh
# What the scripts here share that take "--name VALUE" and nothing else. Sourced from the repository root; $0 is the script,
# and the comment it begins with is its usage.

usage() {
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 2
}

# options "NAME..." "$@": each --NAME VALUE sets the variable NAME.
options() {
    option_names=$1
    shift
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage
        case $1 in
        --*[!a-z]*) usage ;;
        --*) option_name=${1#--} ;;
        *) usage ;;
        esac
        case " $option_names " in *" $option_name "*) ;; *) usage ;; esac
        eval "$option_name=\$2"
        shift 2
    done
}
