require 'json'
require 'puppet/util/execution'

# A Hiera backend: what the registry knows about a node, as the keys `collective::facts`, `collective::classes`,
# `collective::address` and so on. Values are returned as they are: Hiera interpolates nothing in them.
#
#   hierarchy:
#     - name: the registry of the collective
#       lookup_key: collective::lookup
#       options: { node: "%{trusted.certname}" }
Puppet::Functions.create_function(:'collective::lookup') do
  dispatch :lookup do
    param 'String[1]', :key
    param "Struct[{'node' => String[1], Optional['max_age'] => Integer[1, 3600]}]", :options
    param 'Puppet::LookupContext', :context
  end

  def lookup(key, options, context)
    context.not_found unless key.start_with?('collective::')
    context.cache('node', read(options)) unless context.cache_has_key('node')
    found = context.cached_value('node')
    name = key.delete_prefix('collective::')
    found.key?(name) ? found[name] : context.not_found
  end

  def read(options)
    program = Puppet::Util.which('crpc')
    raise Puppet::DataBinding::LookupError, 'collective::lookup: crpc is not installed, or not in PATH' unless program
    command = [program, 'inventory', 'export', '--format=puppet-data', "--host=#{options['node']}",
               "--max-age=#{options.fetch('max_age', 60)}"]
    output = Puppet::Util::Execution.execute(command, combine: false, failonfail: false)
    return JSON.parse(output)['collective'] || {} if output.exitstatus.zero?
    raise Puppet::DataBinding::LookupError, "collective::lookup: 'crpc inventory export' has the exit code #{output.exitstatus}"
  end
end
