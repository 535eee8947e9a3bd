"""The workload in fedjax: its loop over clients (backend ``jit``) around a sparse step by hand.

The best that fedjax's design allows on one core: one compiled step for all batches, the table given
away to each step so that it is changed in place, only touched rows written. Automatic gradients
would be dense. Where fedjax is not installed the same functions run in the same loop of plain JAX;
the answer says which it was.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from job import Clock, Job, answer, read_job
from world import (
    BATCH,
    CLIP_NORM,
    DIM,
    ITEMS,
    NEGATIVES,
    NOISE_MULTIPLIER,
    World,
    cohort,
    device_keys,
    round_key,
)

Tree: TypeAlias = dict[str, jax.Array]


def drawn(key: jax.Array, first: jax.Array) -> jax.Array:
    """Return the negatives of the positions of a batch, shape ``(BATCH, NEGATIVES)``."""
    index = NEGATIVES * first + jnp.arange(BATCH * NEGATIVES, dtype=jnp.uint32)
    h = key + index * jnp.uint32(0x9E3779B1)
    h ^= h >> 16
    h *= jnp.uint32(0x7FEB352D)
    h ^= h >> 15
    h *= jnp.uint32(0x846CA68B)
    h ^= h >> 16
    # The upper word of h * ITEMS, in 32 bits: ITEMS has 12.
    upper = ((h >> 16) * ITEMS + ((h & 0xFFFF) * ITEMS >> 16)) >> 16
    return upper.astype(jnp.int32).reshape(BATCH, NEGATIVES)


def client_init(shared: Tree, own: Tree) -> Tree:
    """Return what a client starts from."""
    return {"table": shared["table"], "first": jnp.uint32(0), **own}


def client_step(state: Tree, batch: Tree, *, rows: float, user: float) -> Tree:
    """Train on one batch, padded to ``BATCH`` positives; a filled place weighs nothing."""
    positives = batch["items"]
    items = jnp.concatenate((positives[:, None], drawn(state["key"], state["first"])), axis=1)
    table, p = state["table"], state["user"]
    values = table[items]
    labels = jnp.zeros((BATCH, 1 + NEGATIVES)).at[:, 0].set(1.0)
    g = (jax.nn.sigmoid(values @ p) - labels) * batch["weight"][:, None]
    table = table.at[items].add((-rows * g)[:, :, None] * p)
    p = p - user * jnp.einsum("bk,bkd->d", g, values)
    return {**state, "table": table, "user": p, "first": state["first"] + BATCH}


def client_final(shared: Tree, state: Tree) -> Tree:
    """Return the clipped update and the user's new vector."""
    update = state["table"] - shared["table"]
    norm = jnp.sqrt(jnp.sum(update * update))
    return {"update": update * jnp.minimum(1.0, CLIP_NORM / norm), "user": state["user"]}


def for_each_client(job: Job) -> tuple[tuple[str, ...], Callable[..., Iterator[tuple[Any, Tree]]]]:
    """Return what runs the clients, and the libraries it is made of."""
    step = partial(client_step, rows=job.rates.rows, user=job.rates.user)
    try:
        import fedjax  # noqa: PLC0415 - may be missing
    except ImportError:
        return ("jax",), _plain(step)
    with fedjax.for_each_client_backend("jit"):
        return ("fedjax", "jax"), fedjax.for_each_client(client_init, step, client_final)


def _plain(step: Callable[..., Any]) -> Callable[..., Iterator[tuple[Any, Tree]]]:
    """Return the same loop without fedjax."""
    first = jax.jit(lambda shared, own: jax.tree.map(jnp.copy, client_init(shared, own)))
    step = jax.jit(step, donate_argnums=0)
    last = jax.jit(client_final, donate_argnums=1)

    def run(
        shared: Tree, clients: Iterable[tuple[Any, Iterable[Tree], Tree]]
    ) -> Iterator[tuple[Any, Tree]]:
        for client, batches, own in clients:
            state = first(shared, own)
            for batch in batches:
                state = step(state, batch)
            yield client, last(shared, state)

    return run


def padded(world: World) -> list[list[Tree]]:
    """Return each user's batches; outside the clock, as all data is."""
    found = []
    for device in range(world.devices):
        history = world.history(device)
        batches = []
        for start in range(0, len(history), BATCH):
            part = history[start : start + BATCH]
            items, weight = np.zeros(BATCH, np.int32), np.zeros(BATCH, np.float32)
            items[: len(part)], weight[: len(part)] = part, 1.0 / len(part)
            batches.append({"items": items, "weight": weight})
        found.append([jax.device_put(batch) for batch in batches])
    return found


@partial(jax.jit, donate_argnums=0)
def added(total: jax.Array, update: jax.Array) -> jax.Array:
    """Return the sum with one more update, in place."""
    return total + update


@partial(jax.jit, donate_argnums=0)
def released(
    table: jax.Array, total: jax.Array, key: jax.Array, size: int, noise: float
) -> jax.Array:
    """Return the next table: the noised mean added, in place."""
    return table + (total + noise * CLIP_NORM * jax.random.normal(key, table.shape)) / size


def main() -> None:
    """Run the job."""
    job = read_job()
    world = job.world()
    libraries, each = for_each_client(job)
    batches = padded(world)
    users = np.array(world.users)
    table = jnp.array(world.table)
    noise = 0.0 if job.check else NOISE_MULTIPLIER
    noise_key = jax.random.PRNGKey(0)
    clock = Clock(job.warm)
    clock.start()
    for number in range(job.all_rounds):
        rows = cohort(world, number, job.cohort)
        keys = device_keys(round_key(number), rows)
        shared = {"table": table}
        clients = (
            (row, batches[row], {"user": users[row], "key": key})
            for row, key in zip(rows.tolist(), keys, strict=True)
        )
        total = jnp.zeros((ITEMS, DIM))
        kept = []
        for row, found in each(shared, clients):
            total = added(total, found["update"])
            kept.append((row, found["user"]))
        for row, user in kept:
            users[row] = user
        noise_key, own = jax.random.split(noise_key)
        if job.check:
            answer(job, {}, np.asarray(total), libraries)
            return
        table = released(table, total, own, job.cohort, noise)
        table.block_until_ready()
        clock.lap()
    answer(job, clock.found(), libraries=libraries)


if __name__ == "__main__":
    main()
