/**
 * A reading of a key's credit: what it ends besides what it says.
 */
import type { Reading } from "../Credits.ts"
import type { Engine } from "./engine.ts"
import type { Entry } from "./entry.ts"

/** `false` if it is older than what is known. */
export const takeReading = (engine: Engine, entry: Entry, reading: Reading, nowMillis: number): boolean => {
  const { key, ledger, own, part, view } = entry
  const before = ledger.credit
  if (!ledger.read(reading, nowMillis)) return false
  // A top-up: what was too dear before may be affordable now.
  if (ledger.credit === undefined || (before !== undefined && ledger.credit > before))
    own.shortage = undefined
  view.credit = ledger.credit
  part.read()
  view.creditResetsAt = ledger.resetsAt
  view.includesByok = reading.includesByok ?? view.includesByok
  const requestedAt = reading.requestedAt ?? nowMillis
  const { debited } = ledger
  engine.publish({ _tag: "CreditRead", keyId: key.id, reading: { ...reading, requestedAt }, debited })
  // A cap that shows headroom again ends the exhaustion of the key; what the account owes is not in a key's reading.
  const { bench } = own
  // A source that lags would show what was left before the key ran dry.
  const refilled =
    bench?.reason === "exhausted" &&
    (reading.remaining === undefined || reading.remaining > 0) &&
    requestedAt - (reading.lag ?? 0) > bench.since
  const accepted = bench?.reason === "rejected" && reading.accepted === true && requestedAt > bench.since
  if (refilled || accepted) engine.domains.readmit("key", key.id, nowMillis)
  return true
}
