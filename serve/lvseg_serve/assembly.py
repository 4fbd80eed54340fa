"""From the options of lvseg-serve to the parts of a server."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lvseg.cli import notice
from lvseg.errors import missing_extra
from lvseg_export.engine_options import to_plans
from lvseg_export.shipped import named_bundle
from lvseg_serve.admin_options import ADMIN, Admin
from lvseg_serve.capacity_options import CAPACITY, Capacity, to_capacity
from lvseg_serve.lifecycle_options import CANARIES, to_canaries
from lvseg_serve.models import LoadedModel, ModelLoader
from lvseg_serve.observation_options import OBSERVATION, Observation, to_observation
from lvseg_serve.rpc.guard import Guard, to_guard
from lvseg_serve.rpc.server import Face
from lvseg_serve.running import Plan
from lvseg_serve.security_options import SECURITY, Security


class Assembly:
    """The parts of a server, each of which is made, and so checked, when it is asked for.

    Args:
        options: Those of the command, by the names that click gives them.

    Raises:
        OptionError: By each property and method, if the options cannot be used.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self.listen: str = options["listen"]
        self.security = Security(**self._of(SECURITY))
        self.admin = Admin(**self._of(ADMIN))

    @cached_property
    def observation(self) -> Observation:
        """The log and the metrics."""
        return to_observation(**self._of(OBSERVATION))

    @cached_property
    def capacity(self) -> Capacity:
        """How much is taken on."""
        return to_capacity(**self._of(CAPACITY))

    @cached_property
    def guard(self) -> Guard:
        """Who gets in; reads the certificates and tokens."""
        self.security.check(self.listen)
        self.admin.check(self.security)
        return to_guard(self.security, self.admin)

    @cached_property
    def faces(self) -> Sequence[Face]:
        """Which further protocols are spoken."""
        return [_kserve()] if self._options["kserve"] else []

    @cached_property
    def loader(self) -> ModelLoader:
        """How models are loaded."""
        return ModelLoader(
            runtime=self._options["runtime"],
            precision=self._options["precision"],
            threads=self._options["threads"],
            plans=to_plans(**self._of(("batch_opt", "batch_max", "side_opt", "side_max", "engine_cache"))),
            max_message_bytes=self.capacity.max_message_bytes,
            max_pending=self.capacity.room.slices,
        )

    @property
    def plan(self) -> Plan:
        """How the server is run."""
        return Plan(
            listen=self.listen,
            guard=self.guard,
            faces=self.faces,
            capacity=self.capacity,
            canaries=to_canaries(**self._of(CANARIES)),
            grace_s=self._options["grace_s"],
            admin=self.admin,
            observation=self.observation,
        )

    def model(self) -> LoadedModel:
        """Load the model and hold it to the gate.

        Raises:
            BundleError: If there is no whole bundle.
            EngineError: If it does not load, or does not say what it said at export.
        """
        bundle: Path | None = self._options["bundle"]
        loader = self.loader
        model = loader.load(named_bundle(bundle))
        if model.why:
            notice(f"fastest here is {model.why}")
        return model

    def _of(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self._options[name] for name in names}


def _kserve() -> Face:
    try:
        import packaging  # noqa: F401  tritonclient.grpc would tell a RuntimeError of it

        from lvseg_serve.rpc.kserve.face import add_kserve
    except ModuleNotFoundError as error:
        raise missing_extra(error.name, "kserve", field="--kserve") from error
    return add_kserve
