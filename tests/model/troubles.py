"""What befalls nodes in the model: they die, drain and stop sweeping, hear nothing, too late, or twice."""

from tests.model.air import Way
from tests.model.clients import Clients


class Troubles(Clients):
    """See the module."""

    async def do_die(self, where: int, unprocessed: int) -> None:
        """A node is killed."""
        if self.nodes:
            self.lose_process(self.a_node(where), unprocessed)

    async def do_drain(self, where: int) -> None:
        """A node says goodbye."""
        if self.nodes:
            self.drain_node(self.a_node(where))

    async def do_sweep(self, where: int, full: bool) -> None:
        """A node sweeps; ``full``: and compares all heads."""
        if self.nodes:
            await self.sweep(self.a_node(where), full=full)

    async def do_stop_sweeping(self, where: int, sweeping: bool) -> None:
        """A node's sweeps do not come through any more, or come again."""
        if self.nodes:
            self.a_node(where).sweeps_by_itself = sweeping

    async def do_tell(self, held: list[tuple[int, bool]]) -> None:
        """Announcements that were held back arrive, some to arrive again."""
        for choice, again in held:
            self.air.tell(choice, again=again)

    async def do_deafen(self, where: int, speaking: int, way: Way) -> None:
        """From now on a node does not hear another process, which may well hear it."""
        if self.nodes:
            self.air.set_way(self.a_process(speaking), self.a_node(where), way)

    async def do_lose_layer(self) -> None:
        """From now on nobody hears anybody, and the nodes know."""
        self.air.silence()
        for node in self.nodes:
            node.layer.fails("the test")

    async def do_heal_layer(self) -> None:
        """Everybody hears everybody again, and those who knew that it was away sweep at once."""
        self.air.heal()
        for node in list(self.nodes):
            was_away = not node.layer.is_up
            node.layer.works("the test")
            assert node.is_sweep_due or not was_away
            if was_away:
                await self.sweep(node)
