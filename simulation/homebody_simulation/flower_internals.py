"""Flower's private names we cannot do without, in one place.

A Grid of one's own has to say who it is (``TaskIdentity``) and to build the messages a SuperNode
would build. Tested with flwr 1.41 and 1.42; a new minor version is tested before it is allowed.
"""

from typing import TYPE_CHECKING

from flwr.app.message import make_message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

if TYPE_CHECKING:
    from flwr.app import Message

__all__ = ["ErrorCode", "Run", "become_server", "empty_run", "make_message", "set_message_id"]


def become_server(run: Run) -> None:
    """Let this process speak as the server of ``run``; a process has one run at a time."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run.run_id
    TaskIdentity.node_id = SUPERLINK_NODE_ID


def empty_run(run_id: int) -> Run:
    """Return a run that has nothing but its id."""
    return Run.create_empty(run_id=run_id)


def set_message_id(message: "Message", message_id: str) -> None:
    """Give a message the id a SuperLink would have given it."""
    message.metadata.__dict__["_message_id"] = message_id
