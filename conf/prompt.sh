# shellcheck shell=bash
# Show customer, environment and role of this node in the prompts of bash and zsh: [acme production web] alice@web1:~$
# Copy it to /etc/profile.d/collective-prompt.sh, or run it from ~/.bashrc or ~/.zshrc; 'crpc prompt bash' prints it, too.
# collectived keeps the file current (local_files in node.yaml). No program is started: a prompt takes no time.

: "${COLLECTIVE_PROMPT_FILE:=/var/cache/collective/prompt}"

__collective_prompt() {
    COLLECTIVE_PROMPT=
    [ -r "$COLLECTIVE_PROMPT_FILE" ] || return 0
    IFS= read -r COLLECTIVE_PROMPT <"$COLLECTIVE_PROMPT_FILE" || true
    # These characters mean nothing to shells and terminals. The file may come from another program.
    eval 'local LC_ALL=C; COLLECTIVE_PROMPT=${COLLECTIVE_PROMPT:0:100}; COLLECTIVE_PROMPT=${COLLECTIVE_PROMPT//[!A-Za-z0-9._:@\/+ -]/_}'
}

if [ -n "${ZSH_VERSION:-}" ]; then
    __collective_zsh_prompt() {
        __collective_prompt
        psvar[9]=$COLLECTIVE_PROMPT
    }
    # %9v prints the variable without expanding it.
    eval 'precmd_functions+=(__collective_zsh_prompt)'
    PROMPT="%(9V.[%9v] .)$PROMPT"
elif [ -n "${BASH_VERSION:-}" ] && [ -n "${PS1:-}" ]; then
    PROMPT_COMMAND="__collective_prompt${PROMPT_COMMAND:+; $PROMPT_COMMAND}"
    # The value of a variable is not expanded again.
    # shellcheck disable=SC2016
    PS1='${COLLECTIVE_PROMPT:+[$COLLECTIVE_PROMPT] }'"$PS1"
fi
