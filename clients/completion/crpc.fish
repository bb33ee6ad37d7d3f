# Completion of crpc in fish. Load it in config.fish: crpc completion fish | source
function __crpc_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    $words[1] __complete fish $words[2..-1] "$current" 2>/dev/null
end
complete -c crpc -f -a '(__crpc_complete)'
