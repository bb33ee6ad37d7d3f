#!/bin/sh
# Data about a node for manifests: $trusted['external']['collective'], on a Puppet server 6.11 or later.
#   puppet.conf:  [server] trusted_external_command = /etc/puppet/trusted_external.sh
# Without AWS this fails, and so does the catalog. Values come from the node: do not use them to grant anything.
exec crpc inventory export --format puppet-data --max-age 60 --host "$1"
