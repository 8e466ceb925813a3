"""The benchmark's commands, one a file; each a module as `agents.terminal.run_command` describes it."""
