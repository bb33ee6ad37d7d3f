require 'json'
require 'puppet/util/execution'

# Finds nodes of the collective, where the catalog is compiled: the user of the Puppet server needs a client.yaml.
#
#   $webs = collective::nodes('role=web and not environment=staging')
#   $all  = collective::nodes()
Puppet::Functions.create_function(:'collective::nodes') do
  # @param expression What `crpc find -S` takes; without it, all nodes
  # @param max_age For how many seconds an earlier read of the registry is used again
  # @return The identities, sorted; an empty array if no node matches
  dispatch :nodes do
    optional_param 'Optional[String[1]]', :expression
    optional_param 'Integer[1, 3600]', :max_age
    return_type 'Array[String]'
  end

  def nodes(expression = nil, max_age = 60)
    options = ['--dm=registry', "--max-age=#{max_age}"]
    options << "--select=#{expression}" if expression
    found = crpc('find', '--json', *options)
    return JSON.parse(found)['nodes'] if found.exitstatus.zero?
    # The exit code 1 is that of no node, but also that of a broken installation.
    return [] if found.exitstatus == 1 && crpc('find', '--count', *options) == "0\n"
    raise Puppet::Error, "collective::nodes: 'crpc find #{options.join(' ')}' has the exit code #{found.exitstatus}"
  end

  def crpc(*words)
    program = Puppet::Util.which('crpc')
    raise Puppet::Error, 'collective::nodes: crpc is not installed, or not in PATH' unless program
    # Nodes that cannot be asked are on standard error, which must not be mixed with the document.
    Puppet::Util::Execution.execute([program, *words], combine: false, failonfail: false)
  end
end
