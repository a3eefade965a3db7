/**
 * What other processes tell, taken as if it had happened here: it is not handed on.
 */
import type { PoolEvent } from "../PoolEvent.ts"
import type { Fact } from "../SharedFacts.ts"
import type { Engine } from "./engine.ts"
import type { Entry } from "./entry.ts"
import { expected } from "./expected.ts"

export const hear = (
  engine: Engine,
  fact: Fact,
  nowMillis: number,
  emit: (event: PoolEvent) => void
): void => {
  switch (fact._tag) {
    case "Benched":
    case "Readmitted":
      return engine.domains.apply(fact, nowMillis)
    case "Load": {
      return hearLoad(engine, fact, nowMillis)
    }
    case "Added":
      if (engine.get(fact.keyId) === undefined) emit({ _tag: "KeyMissing", keyId: fact.keyId })
      return
    // Circuits are the breaker's.
    case "Opened":
    case "Closed":
      return
  }
  const entry = engine.get(fact.keyId)
  if (entry !== undefined) hearOf(engine, entry, fact, nowMillis)
}

const hearLoad = (
  engine: Engine,
  { alone, arrivals = 0, keys }: Extract<Fact, { readonly _tag: "Load" }>,
  nowMillis: number
): void => {
  const loads = new Map(keys.map((load) => [load.keyId, load]))
  const countOf = ({ key }: Entry) => loads.get(key.id)?.inFlight ?? 0
  // Where nobody may send anything, nothing is to be expected.
  const open =
    arrivals === 0
      ? []
      : engine
          .inspect(nowMillis)
          .filter(([, no]) => no === undefined)
          .map(([entry]) => entry)
  const counts = expected(
    open.map((entry) => ({ count: countOf(entry), weight: entry.key.weight })),
    arrivals,
    engine.options.random
  )
  const expectations = new Map(open.map((entry, n) => [entry, counts[n]!]))
  for (const entry of engine.entries)
    entry.adjust(loads.get(entry.key.id), expectations.get(entry) ?? countOf(entry), alone)
}

/** A fact about one key. */
const hearOf = (
  engine: Engine,
  entry: Entry,
  fact: Extract<Fact, { readonly keyId: string }>,
  nowMillis: number
): void => {
  switch (fact._tag) {
    case "CreditRead": {
      const first = entry.ledger.readAt === undefined
      engine.credit(entry, fact.reading, nowMillis)
      // Whoever knew the key before has heard of what was spent on it.
      if (!first) return
      entry.ledger.debit(fact.debited, nowMillis)
      entry.view.credit = entry.ledger.credit
      return
    }
    case "Debited":
      entry.ledger.debit(fact.usd, nowMillis)
      entry.view.credit = entry.ledger.credit
      return
    case "Learnt":
      return engine.learn(entry, fact)
    case "Draining":
      return engine.drain(entry, nowMillis)
    case "Resumed":
      return engine.resume(entry)
    case "Removed":
      return engine.remove(entry)
  }
}
