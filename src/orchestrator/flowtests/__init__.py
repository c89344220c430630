"""Tests of flows: `*.test.yaml` beside a flow, run without network, without waiting, without other side effects.

    test_file = load_test_file(path, project)            # spec.flowtests; raises FlowInvalid with file:line:column
    async with Lane(settings) as lane:                   # lanes.lane; a time-skipping Temporal test server and a worker
        for case in test_file.cases:
            result = await lane.run(case, test_file.flow)   # a CaseResult; never raises for what the flow does

``Lane.run`` takes any ``LoadedFlow``: also one that was changed since (``load_flow(other_text, …)``). What a case
says is checked against its own flow when it is loaded, not again. A lane runs one case at a time, because the clock of
its server is one.

    report = await run_files(settings, [path, …], match="text", lanes=2)    # runner; a Report: every FileResult

Plain results: ``CaseResult`` has ``file``, ``name``, ``line``, ``passed``, ``problems`` (``Mismatch``: message, where,
expected, got), and what the run did: ``status``, ``output``, ``error``, ``vars``, ``warnings``, ``steps``
(``Ran``: path, step, type, status, in the order they began), ``calls`` (``Called``: path, step, config, attempt),
``compensated``, ``seconds`` (workflow time).
"""
