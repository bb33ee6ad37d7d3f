"""Convert DDLs of Choria (JSON) and MCollective (Ruby) into ours, and list what cannot be converted.

    imported = convert.read(Path("agent/puppet.ddl"))
    imported.document      the DDL
    imported.lost          one line for each part that was omitted

tokens.py     the words of a Ruby file
ruby.py       a DDL in Ruby → the same in Choria's form; Ruby code is never run
fields.py     inputs and outputs in Choria's form → JSON Schema
convert.py    a DDL in Choria's form → ours
"""
