/**
 * Why each key can serve a demand, or cannot. Nothing here changes anything.
 */
import type { Candidate } from "../Candidate.ts"
import type { EligibleKey, IneligibleKey, KeyNumbers, KeyReport } from "../Explanation.ts"
import type { Ineligible } from "../Filter.ts"
import type { Demand } from "./demand.ts"
import { overlooks } from "./eligibility.ts"
import type { Engine } from "./engine.ts"
import type { Entry } from "./entry.ts"

/** The keys that cannot serve: what a refusal tells. */
export const refusals = (engine: Engine, demand: Demand): ReadonlyArray<IneligibleKey> => {
  const found: Array<IneligibleKey> = []
  for (const [entry, no] of engine.verdicts(demand)) if (no !== undefined) found.push(ineligible(entry, no))
  return found
}

/** All keys, with the places of those that could serve. */
export const reports = (engine: Engine, demand: Demand): ReadonlyArray<KeyReport> => {
  const verdicts = engine.verdicts(demand)
  const overlooking = overlooks(verdicts)
  const serving = verdicts.filter(([, no]) => no === undefined || (overlooking && no.soft === true))
  const ranks = rank(
    demand,
    serving.map(([entry]) => entry.view)
  )
  return verdicts.map(([entry, no]): KeyReport => {
    if (no !== undefined && !(overlooking && no.soft === true)) return ineligible(entry, no)
    return eligible(entry, ranks?.get(entry.view.id), no)
  })
}

const rank = (
  { context, strategy }: Demand,
  candidates: ReadonlyArray<Candidate>
): ReadonlyMap<string, number> | undefined => {
  const [first, ...rest] = candidates
  if (first === undefined || strategy.picker.rank === undefined) return undefined
  const ranked = strategy.picker.rank([first, ...rest], context)
  return new Map(ranked.map(({ id }, i) => [id, i + 1]))
}

const eligible = (
  entry: Entry,
  rank: number | undefined,
  overlooked: Ineligible | undefined
): EligibleKey => ({
  ...numbers(entry),
  eligible: true,
  rank,
  overlooked: overlooked === undefined ? undefined : plain(overlooked)
})

const ineligible = (entry: Entry, no: Ineligible): IneligibleKey => ({
  ...numbers(entry),
  eligible: false,
  ...plain(no)
})

const numbers = ({ inFlight, key, view }: Entry): KeyNumbers => ({
  keyId: key.id,
  account: key.account,
  workspace: key.workspace,
  tier: key.tier,
  weight: key.weight,
  inFlight,
  maxInFlight: view.maxInFlight,
  credit: view.credit,
  latency: view.latency
})

/** A copy: what says no is live. */
export const plain = ({ reason, scope, since, until }: Ineligible): Ineligible => ({
  reason,
  scope,
  since,
  until
})
