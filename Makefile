# The words of this project. Each installs what it needs into .venv first; nothing else on the machine is touched,
# except by `make demo`, which says so.

PYTHON ?= python3
VENV := .venv
MINUTES ?= 30
RATE ?= 20
INSTALLED := $(VENV)/.installed
UV := .uv
LOCK = UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV)/bin/uv pip compile --quiet --no-config --upgrade --universal \
	--python-version 3.10 --generate-hashes
# How many tests run at once: most of them wait for processes and polls, so one more than there are cores.
WORKERS ?= 3
# How many inputs each parser is fuzzed with.
FUZZ_INPUTS ?= 1000000
SERVERS := .servers/ministack/.installed .servers/fauxqs/.installed

.PHONY: demo test test-newest test-oldest test-strange lint types bench docs fuzz lock servers simulation steering kills floods jobs files examples systemd puppet failures soak membership haproxy warm clean exports clusters instructions

demo:  ## install, start a local fleet, run the main job
	@PYTHON=$(PYTHON) conf/demo.sh

test: $(INSTALLED) lint types  ## everything that proves the project, in about a quarter of an hour
	$(VENV)/bin/pytest -n $(WORKERS) --dist loadgroup

test-newest test-oldest: test-%: $(UV)/.installed  ## the unit tests with both ends of the ranges in setup.cfg, on each Python
	.ci/versions $*

test-strange: $(INSTALLED)  ## the unit tests in strange surroundings: another locale, time zone, environment, user
	.ci/strange

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED)  ## mypy reads the installed package: what users import, under the names that they import
	rm -rf build
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --target build/types .
	MYPYPATH=build/types $(VENV)/bin/mypy -p collective
	MYPYPATH=build/types:tests:docs $(VENV)/bin/mypy tests docs/_reference

bench: $(INSTALLED)  ## the figures in docs/performance.md; BENCH='calls latency' measures some parts
	PYTHONPATH=tests $(VENV)/bin/python tests/bench/run.py $(BENCH)

fuzz: $(VENV)/.fuzz  ## a million inputs for each parser, led by coverage
	cd tests && ../$(VENV)/bin/python -m fuzz.run $(FUZZ_INPUTS)

docs: $(VENV)/.docs  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict --site-dir build/site

servers: $(INSTALLED) $(SERVERS)  ## one contract, against three servers that others wrote
	SERVERS='moto ministack fauxqs' $(VENV)/bin/pytest tests/e2e/test_transport_sqs.py tests/e2e/test_registry_dynamodb.py \
		tests/e2e/test_servers.py tests/e2e/test_lab.py

steering: $(INSTALLED)  ## 5,000 schedules of deaths, takeovers and orders during a rollout; STEERING_EXAMPLES=20000 tries more
	STEERING_EXAMPLES=$${STEERING_EXAMPLES:-5000} $(VENV)/bin/pytest --timeout 7200 -q tests/test_steering.py

membership: $(INSTALLED)  ## events of 1,000 nodes for half an hour of lost heartbeats and killed watchers; MEMBERSHIP_SEEDS='7 8' takes others
	MEMBERSHIP_SEEDS="$${MEMBERSHIP_SEEDS:-1 2 3 4 5}" MEMBERSHIP_SECONDS=1800 $(VENV)/bin/pytest --timeout 7200 -q tests/test_membership_simulation.py

haproxy: $(INSTALLED)  ## 2,000 requests through Debian's HAProxy during 20 joins and kills of nodes; needs root, or HAProxy installed
	HAPROXY=1 $(VENV)/bin/pytest --timeout 1800 -q tests/e2e/test_haproxy.py

clusters: $(INSTALLED)  ## 20 real etcd clusters form themselves, a member is replaced, and 500 schedules of failures; installs etcd; needs root
	CLUSTERS=20 CLUSTER_SEEDS="$$(seq -s ' ' 500)" $(VENV)/bin/pytest --timeout 7200 -q tests/test_cluster.py tests/e2e/test_cluster.py

simulation: $(INSTALLED)  ## 100,000 requests for each seed over a network that misbehaves; SIMULATED_SEEDS='7 8' takes others
	SIMULATED_REQUESTS=100000 SIMULATED_WORLDS=1000 $(VENV)/bin/pytest --timeout 7200 -q -s tests/test_simulation.py

kills: $(INSTALLED)  ## SIGKILL of real daemons, twenty times at every step
	KILLS=20 $(VENV)/bin/pytest tests/e2e/test_killed.py

floods: $(INSTALLED)  ## too much of everything for one real daemon, twenty times
	FLOODS=20 $(VENV)/bin/pytest tests/e2e/test_flood.py

jobs: $(INSTALLED)  ## background and scheduled jobs of a minute, on a machine that has nothing else to do; JOB_SECONDS=300 for longer ones
	JOB_SECONDS=$${JOB_SECONDS:-60} $(VENV)/bin/pytest --timeout 1200 -q tests/e2e/test_jobs.py

files: $(INSTALLED)  ## 50 MB to five nodes and back, and a command with 100 MB of output
	BIG_FILES=1 $(VENV)/bin/pytest --timeout 1800 -q tests/test_agent_shell.py tests/e2e/test_file_transfers.py

systemd: $(INSTALLED)  ## a node and its agent service under a real systemd, process 1 of namespaces of its own; needs root
	SYSTEMD=1 $(VENV)/bin/pytest -q tests/e2e/test_systemd_process_1.py

puppet: $(INSTALLED)  ## the agent puppet with Debian's Puppet, which is installed if it is missing; needs root
	PUPPET=1 $(VENV)/bin/pytest -q tests/e2e/test_puppet.py

exports: $(INSTALLED) .servers/ansible/.installed  ## exports, alerts and Puppet functions, read by the real Ansible, Prometheus, Nagios and Puppet; needs root or these programs
	.ci/export_tools
	EXPORTS=1 PATH="$(CURDIR)/.servers/ansible/bin:$(CURDIR)/.servers/debian/usr/bin:$(CURDIR)/.servers/debian/usr/sbin:$$PATH" $(VENV)/bin/pytest -q tests/test_exports.py tests/test_fleet_checks.py \
		tests/test_monitoring_files.py tests/e2e/test_exports.py tests/e2e/test_exports_read.py

examples: $(INSTALLED)  ## every example of README, documents and help pages, compared with what it printed before
	EXAMPLES=1 $(VENV)/bin/pytest -q tests/e2e/test_examples.py

failures: $(INSTALLED)  ## inject failures into real processes, and write what was seen to docs/failures.md
	mkdir -p build
	FAILURES=$(CURDIR)/build/failures.json $(VENV)/bin/pytest -m failure tests/e2e
	PYTHONPATH=tests $(VENV)/bin/python -m support.failures build/failures.json

instructions: $(INSTALLED)  ## instructions that a start of crpc executes, within a tenth of what was recorded; needs valgrind, or root
	command -v valgrind >/dev/null || apt-get install -qq -y valgrind
	INSTRUCTIONS=1 $(VENV)/bin/pytest -q tests/e2e/test_instructions.py

warm: $(INSTALLED)  ## 1,000 calls of one warm process leave no open file, memory or process behind
	WARM_CALLS=1000 $(VENV)/bin/pytest --timeout 1800 -q tests/e2e/test_warm.py tests/e2e/test_warm_terminal.py

soak: $(INSTALLED)  ## half an hour of 20 calls a second against five real daemons: does anything grow?
	PYTHONPATH=tests $(VENV)/bin/python tests/bench/soak.py --minutes $(MINUTES) --rate $(RATE)

lock: $(UV)/.installed  ## renew requirements/*.txt: the newest versions that the ranges in setup.cfg allow
	$(LOCK) setup.cfg requirements/build.in --extra dev --extra lab --output-file requirements/tests.txt
	$(LOCK) setup.cfg requirements/build.in --extra lab --extra testing --constraint requirements/tests.txt --output-file requirements/demo.txt
	$(LOCK) setup.cfg requirements/build.in --extra docs --constraint requirements/tests.txt --output-file requirements/docs.txt
	$(LOCK) setup.cfg requirements/build.in --extra fuzz --constraint requirements/tests.txt --output-file requirements/fuzz.txt
	$(LOCK) requirements/ministack.in --output-file requirements/ministack.txt
	$(LOCK) requirements/ansible.in --output-file requirements/ansible.txt
	$(LOCK) requirements/uv.in --output-file requirements/uv.txt

$(INSTALLED): requirements/tests.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes --requirement $<
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.fuzz $(VENV)/.docs: $(VENV)/.%: requirements/%.txt $(INSTALLED)
	$(VENV)/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

$(UV)/.installed: requirements/uv.txt
	$(PYTHON) -m venv $(UV)
	$(UV)/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

.servers/ministack/.installed: requirements/ministack.txt  # in an environment of its own: it pins botocore
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

.servers/ansible/.installed: requirements/ansible.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --require-hashes --requirement $<
	touch $@

.servers/fauxqs/.installed:  # 1.9.2 is the last version for Node 20
	@command -v npm >/dev/null || { echo 'make servers: needs npm and Node 20: apt-get install nodejs npm' >&2; exit 1; }
	npm install --silent --prefix $(@D) fauxqs@1.9.2
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .fuzz .servers .uv .versions *.egg-info
