# What cells.sh and few_shot.sh share: a stage that stands is not done again. python names the interpreter.

once() { # once FILE COMMAND...: run the command unless the last file that it writes stands
    [ -e "$1" ] || "${@:2}"
}
evaluate() { # evaluate RECORD COMMAND...: a record that stands is not made again
    once "records/$1/record.json" "$python" -m evaluate "${@:2}" --out "records/$1"
}
