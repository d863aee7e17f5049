# Functions that the scripts in this folder share. The variable python names the interpreter.

once() { # once FILE COMMAND...: run the command unless FILE, the last file that the command writes, exists
    [ -e "$1" ] || "${@:2}"
}
evaluate() { # evaluate RECORD COMMAND...: make a record unless it exists
    once "records/$1/record.json" "$python" -m evaluate "${@:2}" --out "records/$1"
}
after() { # after NAME LIST...: print the name that follows NAME; the first name follows the last
    local names=("${@:2}" "$2") i
    for i in "${!names[@]}"; do [ "${names[i]}" = "$1" ] && echo "${names[i + 1]}" && return; done
}
