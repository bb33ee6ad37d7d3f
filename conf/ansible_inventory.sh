#!/bin/sh
# The dynamic inventory of Ansible: ansible-playbook -i /etc/ansible/collective.sh site.yaml
# COLLECTIVE_TARGET selects the collective; add target options such as -F environment=staging here.
exec crpc inventory export --format ansible "$@"
