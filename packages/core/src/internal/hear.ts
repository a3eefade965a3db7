/**
 * What other processes tell, taken as if it had happened here: it is not handed on.
 */
import type { PoolEvent } from "../PoolEvent.ts"
import type { Fact } from "../SharedFacts.ts"
import type { Engine } from "./engine.ts"
import type { Entry } from "./entry.ts"

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
      const loads = new Map(fact.keys.map((load) => [load.keyId, load]))
      for (const entry of engine.entries) entry.adjust(loads.get(entry.key.id), fact.alone)
      return
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
