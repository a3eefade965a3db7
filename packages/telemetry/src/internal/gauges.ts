/**
 * What is read when somebody asks, and not before: a scrape looks at the pool once, however many series it reads.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type { Balancer, BalancerEvent, Explanation, KeyPool, PoolEvent } from "@evenkeel/core"
import { catalogue, seriesOf, type Definition } from "./catalogue.ts"
import { stateOf, states, type State } from "./states.ts"

interface KeyReading extends KeyPool.KeySnapshot {
  readonly state: State
}

interface Reading {
  readonly at: number
  readonly keys: ReadonlyMap<string, KeyReading>
  readonly waiting: number
  readonly benches: ReadonlyArray<KeyPool.SharedBench>
  readonly circuits: ReadonlyArray<TroubledCircuit>
}

/** A circuit that is not closed, as `@evenkeel/circuit-breaker` tells of it. */
export interface TroubledCircuit {
  readonly scope: string
  readonly state: { readonly _tag: string }
}

const scopes = ["key", "workspace", "account", "upstream", "host"]

export class Gauges {
  private readonly context: Context.Context<never>
  private readonly look: () => Reading
  private readonly shared: ReadonlyArray<Metric.Registration>
  /** The series of each key, by metric and, for states, by state. */
  private readonly keys = new Map<string, Map<string, Metric.Registration>>()
  private reading: Reading | undefined

  constructor(
    context: Context.Context<never>,
    pool: KeyPool.KeyPool["Service"],
    balancer: Balancer.Balancer["Service"],
    circuits: Effect.Effect<ReadonlyArray<TroubledCircuit>> | undefined
  ) {
    this.context = context
    const run = Effect.runSyncWith(context)
    this.look = () => readingOf(run(pool.snapshot), run(balancer.explain()), circuits ? run(circuits) : [])
    this.shared = [
      this.register(catalogue.waiting, [], () => this.now().waiting),
      ...scopes.map((scope) =>
        this.register(
          catalogue.benched,
          [scope],
          () => this.now().benches.filter((bench) => bench.scope === scope).length
        )
      ),
      ...(circuits === undefined ? [] : scopes.flatMap((scope) => this.circuitsOf(scope)))
    ]
    for (const key of this.now().keys.values()) this.add(key)
    this.reading = undefined
  }

  take(event: BalancerEvent.BalancerEvent | PoolEvent.PoolEvent): void {
    // What was read before is gone by.
    this.reading = undefined
    this.changed(event)
    this.reading = undefined
  }

  private changed(event: BalancerEvent.BalancerEvent | PoolEvent.PoolEvent): void {
    switch (event._tag) {
      case "Settled":
        if (event.outcome._tag === "Success") this.known(event.keyId, catalogue.keyLatency, seconds)
        return
      case "CreditRead": {
        const { credit, keyId, limit } = event
        this.known(keyId, catalogue.keyCreditAge, age)
        this.known(keyId, catalogue.keyCredit, credit === undefined ? undefined : ({ credit }) => credit)
        this.known(
          keyId,
          catalogue.keyCreditLimit,
          limit === undefined ? undefined : ({ creditLimit }) => creditLimit
        )
        return
      }
      case "KeyAdded":
      case "KeyChanged": {
        const key = this.now().keys.get(event.keyId)
        this.remove(event.keyId)
        if (key !== undefined) this.add(key)
        return
      }
      case "KeyRemoved":
        return this.remove(event.keyId)
      default:
    }
  }

  close(): void {
    for (const { remove } of this.shared) remove()
    for (const id of this.keys.keys()) this.remove(id)
  }

  private add(key: KeyReading): void {
    const { creditLimit, credit, creditReadAt, id, latency, maxInFlight } = key
    this.keys.set(id, new Map())
    for (const state of states)
      this.known(id, catalogue.keyState, (now) => (now.state === state ? 1 : 0), state)
    this.known(id, catalogue.keyInFlight, ({ inFlight }) => inFlight)
    if (maxInFlight < Infinity) this.known(id, catalogue.keyMaxInFlight, (now) => now.maxInFlight)
    if (latency !== undefined) this.known(id, catalogue.keyLatency, seconds)
    if (credit !== undefined) this.known(id, catalogue.keyCredit, (now) => now.credit)
    if (creditLimit !== undefined) this.known(id, catalogue.keyCreditLimit, (now) => now.creditLimit)
    if (creditReadAt !== undefined) this.known(id, catalogue.keyCreditAge, age)
  }

  /** From now on there is a value for the key, or there is none any more: what is not known is no 0. */
  private known(
    id: string,
    definition: Definition<"gauge">,
    read: ((key: KeyReading, at: number) => number | undefined) | undefined,
    state?: State
  ): void {
    const series = this.keys.get(id)
    if (series === undefined) return
    const name = state ?? definition.name
    const present = series.get(name)
    if (read === undefined) {
      present?.remove()
      series.delete(name)
      return
    }
    if (present !== undefined) return
    const account = this.now().keys.get(id)?.account ?? "none"
    let last = 0
    series.set(
      name,
      this.register(definition, state === undefined ? [id, account] : [id, account, state], () => {
        const { at, keys } = this.now()
        const key = keys.get(id)
        return (last = (key && read(key, at)) ?? last)
      })
    )
  }

  private remove(id: string): void {
    for (const { remove } of this.keys.get(id)?.values() ?? []) remove()
    this.keys.delete(id)
  }

  private circuitsOf(scope: string): ReadonlyArray<Metric.Registration> {
    const of = (state: string) => () =>
      this.now().circuits.filter((circuit) => circuit.scope === scope && circuit.state._tag === state).length
    return [
      this.register(catalogue.circuits, [scope, "open"], of("Open")),
      this.register(catalogue.circuits, [scope, "half-open"], of("HalfOpen"))
    ]
  }

  private register(
    definition: Definition<"gauge">,
    values: ReadonlyArray<string>,
    get: () => number
  ): Metric.Registration {
    const nothing = () => {}
    return Metric.registerUnsafe(seriesOf.gauge(definition, values), this.context, {
      get: () => ({ value: get() }),
      update: nothing,
      modify: nothing
    })
  }

  /** One look for all that is read in one go. */
  private now(): Reading {
    if (this.reading === undefined) {
      this.reading = this.look()
      queueMicrotask(() => (this.reading = undefined))
    }
    return this.reading
  }
}

const readingOf = (
  { at, benches, keys, waiting }: KeyPool.PoolSnapshot,
  explanation: Explanation.Explanation,
  circuits: ReadonlyArray<TroubledCircuit>
): Reading => {
  const reasons = new Map(explanation.keys.flatMap((key) => (key.eligible ? [] : [[key.keyId, key.reason]])))
  const read = keys.map((key): [string, KeyReading] => {
    const reason = reasons.get(key.id)
    return [key.id, { ...key, state: reason === undefined ? "ready" : stateOf(reason) }]
  })
  return { at, benches, circuits, waiting, keys: new Map(read) }
}

const seconds = ({ latency }: KeyReading): number | undefined =>
  latency === undefined ? undefined : latency / 1000

const age = ({ creditReadAt }: KeyReading, at: number): number | undefined =>
  creditReadAt === undefined ? undefined : Math.max(0, at - creditReadAt) / 1000
