"""What can be seen of runs from outside: the search attributes of the Temporal namespace."""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

VERSION = SearchAttributeKey.for_keyword("OrchestratorVersion")
TRIGGER = SearchAttributeKey.for_keyword("OrchestratorTrigger")
"""Both on every run where the settings ask for it; its flow is its workflow type anyway."""
STATUS = SearchAttributeKey.for_keyword("OrchestratorStatus")
"""``waiting`` while a run waits for a person."""

SEARCH_ATTRIBUTES = {
    VERSION.name: "Keyword",
    TRIGGER.name: "Keyword",
    STATUS.name: "Keyword",
    "OrchestratorAssignee": "Keyword",
}
"""Name and type, as ``temporal server start-dev --search-attribute NAME=TYPE`` takes them."""

_PROBLEMS = "TemporalReportedProblems"
"""Set by the server itself after five failed workflow tasks in a row."""

_REFUSALS = {
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,
    RPCStatusCode.UNAUTHENTICATED,
    RPCStatusCode.INVALID_ARGUMENT,
    RPCStatusCode.ALREADY_EXISTS,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.NOT_FOUND,
}


async def ensure_search_attributes(temporal_client: Client) -> bool:
    """Register what is missing and say whether the namespace now has all of ours.

    False where the cluster does not let us, such as Temporal Cloud: then nothing may be written, for an
    attribute that is not registered leaves a run stuck for good. Raises RPCError when Temporal cannot be
    reached.
    """
    try:
        missing = await _missing(temporal_client)
        if not missing:
            return True
        await temporal_client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=temporal_client.namespace,
                search_attributes=dict.fromkeys(missing, IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD),
            )
        )
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
    try:
        return not await _missing(temporal_client)
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
        return False


async def _missing(temporal_client: Client) -> list[str]:
    answer = await temporal_client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=temporal_client.namespace)
    )
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [name for name in SEARCH_ATTRIBUTES if answer.custom_attributes.get(name) != keyword]


async def stuck_runs(temporal_client: Client, limit: int = 20) -> list[str] | None:
    """Ids of runs whose workflow task keeps failing, such as after a bad deploy.

    None where the cluster does not mark such runs. Raises RPCError when Temporal cannot be reached.
    """
    request = ListWorkflowExecutionsRequest(
        namespace=temporal_client.namespace,
        query=f"{_PROBLEMS} IN ('category=WorkflowTaskFailed', 'category=WorkflowTaskTimedOut')"
        " AND ExecutionStatus = 'Running'",
        page_size=limit,
    )
    try:
        found = await temporal_client.workflow_service.list_workflow_executions(request)
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
        return None
    return [info.execution.workflow_id for info in found.executions]
