#compdef crpc
# Completion of crpc in zsh. Load it in ~/.zshrc after compinit: source <(crpc completion zsh)
_crpc() {
    local line word about more
    local -a given words_ended shown_ended words_open shown_open
    given=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    while IFS=$'\t' read -r word about more; do
        if [[ -n $more ]]; then
            words_open+=("$word") shown_open+=("$word${about:+  -- $about}")
        else
            words_ended+=("$word") shown_ended+=("$word${about:+  -- $about}")
        fi
    done < <("${words[1]}" __complete zsh "${given[@]}" 2>/dev/null)
    (( $#words_ended )) && compadd -l -d shown_ended -a words_ended
    (( $#words_open )) && compadd -l -S '' -d shown_open -a words_open
    (( $#words_ended + $#words_open ))
}
if [[ $funcstack[1] == _crpc ]]; then
    _crpc "$@"
else
    compdef _crpc crpc
fi
