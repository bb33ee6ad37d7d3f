# Completion of crpc in bash 4 and newer. Load it in ~/.bashrc: source <(crpc completion bash)
_crpc() {
    mapfile -t COMPREPLY < <("$1" __complete bash "$COMP_WORDBREAKS" "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
}
complete -o nospace -F _crpc crpc
