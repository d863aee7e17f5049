# Classes and functions that the scripts in this folder share. The variable python names the interpreter.

# The classes of the embedded bundle: learnt by the base, by a hypernetwork from photographs, and from phantoms.
base=(erythroblast ig lymphocyte monocyte neutrophil platelet)
few=(basophil eosinophil)
phantom=(cyt_kist_mast cyt_mast cyt_nep_fib_mast cyt_nep_mast)

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
