/**
 * Facts as they travel: ids, reasons and durations. Never a secret, and never a time of a local clock.
 */
import type { SharedFacts } from "@evenkeel/core"
import * as Schema from "effect/Schema"
import type { Heard, Row } from "./exchange.ts"

type Fact = SharedFacts.Fact
/** A fact that is told as one; loads and debits travel as sums. */
export type Told = Exclude<Fact, { readonly _tag: "Load" | "Debited" }>

/** Changes with every change of the format: who speaks another one is not understood, and that is all. */
const version = 1
/** Longer than anybody waits, and still a whole number with room for the time of Redis: "until further notice". */
const forever = 4e15
const day = 86_400_000
/** A fact outlives its deadline, so that whoever was away for a moment still hears of it. */
const grace = 60_000

const Scope = Schema.Literals(["key", "workspace", "account", "upstream", "host"])
const Text = Schema.optionalKey(Schema.String)
const Amount = Schema.optionalKey(Schema.NullOr(Schema.Number))
const keyId = Schema.String

const Body = Schema.Union([
  Schema.TaggedStruct("Benched", {
    scope: Scope,
    id: Schema.String,
    within: Text,
    reason: Schema.Literals(["throttled", "exhausted", "rejected", "unavailable", "insufficient"]),
    /** Milliseconds since it began, when it was told. */
    lasted: Schema.Number
  }),
  Schema.TaggedStruct("Readmitted", { scope: Scope, id: Schema.String, within: Text }),
  Schema.TaggedStruct("Opened", { scope: Scope, id: Schema.String, by: Schema.String }),
  Schema.TaggedStruct("Closed", { scope: Scope, id: Schema.String }),
  Schema.TaggedStruct("CreditRead", {
    keyId,
    debited: Schema.Number,
    /** Nanodollars that all had spent on the key, as the reader knew. */
    spent: Schema.Number,
    remaining: Amount,
    limit: Amount,
    /** Milliseconds since it was asked for, when it was told, and until the cap is filled up. */
    age: Schema.Number,
    resetsIn: Amount,
    lag: Amount,
    freshFor: Amount,
    includesByok: Schema.optionalKey(Schema.Boolean),
    accepted: Schema.optionalKey(Schema.Boolean)
  }),
  Schema.TaggedStruct("Learnt", { keyId, account: Text, workspace: Text }),
  ...(["Draining", "Resumed", "Removed", "Added"] as const).map((tag) => Schema.TaggedStruct(tag, { keyId }))
])
type Body = typeof Body.Type

const Envelope = Schema.fromJsonString(
  Schema.Struct({ v: Schema.Literal(version), from: Schema.String, fact: Body })
)
const decodeEnvelope = Schema.decodeUnknownOption(Envelope)

/** Under which name a fact is kept: a newer one of the same name replaces it. */
const fieldOf = (fact: Told): string => {
  switch (fact._tag) {
    case "Benched":
    case "Readmitted":
      return JSON.stringify(["bench", fact.scope, fact.id, fact.within ?? null])
    case "Opened":
    case "Closed":
      return JSON.stringify(["circuit", fact.scope, fact.id])
    case "CreditRead":
      return JSON.stringify(["credit", fact.keyId])
    case "Learnt":
      return JSON.stringify(["owner", fact.keyId])
    case "Draining":
    case "Resumed":
      return JSON.stringify(["drain", fact.keyId])
    case "Removed":
    case "Added":
      return JSON.stringify(["member", fact.keyId])
  }
}

const bodyOf = (fact: Told, now: number, spent: (keyId: string) => number): Body => {
  switch (fact._tag) {
    case "Benched": {
      const { _tag, id, reason, scope, since, within } = fact
      return { _tag, scope, id, ...(within !== undefined && { within }), reason, lasted: now - since }
    }
    case "Readmitted": {
      const { _tag, id, scope, within } = fact
      return { _tag, scope, id, ...(within !== undefined && { within }) }
    }
    case "Opened":
      return { _tag: "Opened", scope: fact.scope, id: fact.id, by: fact.by }
    case "Closed":
      return { _tag: "Closed", scope: fact.scope, id: fact.id }
    case "CreditRead": {
      const { debited, keyId, reading } = fact
      const { accepted, freshFor, includesByok, lag, limit, remaining, requestedAt, resetsAt } = reading
      return {
        _tag: "CreditRead",
        keyId,
        debited,
        spent: spent(keyId),
        remaining: remaining ?? null,
        limit: limit ?? null,
        age: now - (requestedAt ?? now),
        resetsIn: resetsAt === undefined ? null : resetsAt - now,
        lag: lag ?? null,
        freshFor: freshFor === undefined || freshFor === Infinity ? null : freshFor,
        ...(includesByok !== undefined && { includesByok }),
        ...(accepted !== undefined && { accepted })
      }
    }
    case "Learnt": {
      const { account, keyId, workspace } = fact
      return {
        _tag: "Learnt",
        keyId,
        ...(account !== undefined && { account }),
        ...(workspace !== undefined && { workspace })
      }
    }
    default:
      return { _tag: fact._tag, keyId: fact.keyId } as Body
  }
}

/** The fact, and when its deadline is. */
export const rowOf = (fact: Told, from: string, now: number, spent: (keyId: string) => number): Row => {
  const until = "until" in fact ? fact.until : now
  const remaining = Math.min(Math.max(0, until - now), forever)
  return {
    field: fieldOf(fact),
    mode: "until" in fact ? "later" : "newer",
    remaining,
    keep: "until" in fact ? Math.min(remaining + grace, 30 * day) : day,
    body: JSON.stringify({ v: version, from, fact: bodyOf(fact, now, spent) })
  }
}

export { fieldOf }

/** What was heard, by the local clock; `undefined` for what is not understood. */
export const heardOf = (
  { age, body, remaining }: Heard,
  now: number,
  spent: (keyId: string) => number
): { readonly from: string; readonly fact: Told } | undefined => {
  const decoded = decodeEnvelope(body)
  if (decoded._tag === "None") return undefined
  const { fact, from } = decoded.value
  return { from, fact: factOf(fact, now, age, remaining > forever / 2 ? Infinity : now + remaining, spent) }
}

const factOf = (
  body: Body,
  now: number,
  age: number,
  until: number,
  spent: (keyId: string) => number
): Told => {
  switch (body._tag) {
    case "Benched": {
      const { _tag, id, lasted, reason, scope, within } = body
      return { _tag, scope, id, within, reason, since: now - age - lasted, until }
    }
    case "Readmitted":
      return { ...body, within: body.within }
    case "Opened":
      return { ...body, until }
    case "CreditRead": {
      const { accepted, debited, freshFor, includesByok, keyId, lag, limit, remaining, resetsIn } = body
      return {
        _tag: "CreditRead",
        keyId,
        // What was spent since it was told belongs to it too, for whoever hears of it only now.
        debited: debited + Math.max(0, spent(keyId) - body.spent) / 1e9,
        reading: {
          remaining: remaining ?? undefined,
          limit: limit ?? undefined,
          requestedAt: now - age - body.age,
          resetsAt: resetsIn === null || resetsIn === undefined ? undefined : now - age + resetsIn,
          lag: lag ?? undefined,
          freshFor: freshFor ?? undefined,
          includesByok,
          accepted
        }
      }
    }
    case "Learnt":
      return { _tag: "Learnt", keyId: body.keyId, account: body.account, workspace: body.workspace }
    default:
      return body
  }
}
