/**
 * `evenkeel keys`: what each key has, and how long it lasts.
 */
import { KeyInfo, OpenRouter } from "@evenkeel/openrouter"
import * as Command from "effect/cli/Command"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { codes, Ended } from "../internal/exit.ts"
import * as Flags from "../internal/flags.ts"
import { duration, instant, until, usd } from "../internal/format.ts"
import * as Live from "../internal/openrouter.ts"
import { style, table, type Style } from "../internal/table.ts"

/** Whether a key is of use now, and if not, why. */
type Health = "live" | "spent" | "expired" | "management" | "refused" | "unknown"

/** What is told of a key. Nothing of its secret: not even the label, in which OpenRouter shows some of it. */
interface Row {
  readonly id: string
  readonly account: string | null
  readonly workspace: string | null
  readonly health: Health
  /** USD; `null`: no cap, or not known. */
  readonly limit: number | null
  readonly limitReset: string | null
  readonly remaining: number | null
  readonly resetsAt: string | null
  readonly usage: number | null
  readonly usageToday: number | null
  /** When it runs dry at its pace of today, or of this week. */
  readonly exhaustedAt: string | null
  readonly expiresAt: string | null
}

const rowOf = ({ account, health, id, info, workspace }: OpenRouter.KeyStatus, now: number): Row => ({
  id,
  account: account ?? (info === undefined ? undefined : KeyInfo.account(info)) ?? null,
  workspace: workspace ?? info?.workspace_id ?? null,
  health: info === undefined ? health : healthOf(info, now),
  limit: info?.limit ?? null,
  limitReset: info?.limit_reset ?? null,
  remaining: info?.limit_remaining ?? null,
  resetsAt: (info && instant(KeyInfo.resetsAt(info, now))) ?? null,
  usage: info?.usage ?? null,
  usageToday: info?.usage_daily ?? null,
  exhaustedAt: (info && instant(KeyInfo.exhaustedAt(info, now))) ?? null,
  expiresAt: info?.expires_at ?? null
})

const healthOf = (info: KeyInfo.KeyInfo, now: number): Health => {
  if (info.is_management_key === true) return "management"
  if (info.expires_at != null && Date.parse(info.expires_at) <= now) return "expired"
  return info.limit_remaining != null && info.limit_remaining <= 0 ? "spent" : "live"
}

const columns = [
  { title: "key" },
  { title: "account" },
  { title: "health" },
  { title: "cap", align: "right" },
  { title: "left", align: "right" },
  { title: "resets" },
  { title: "today", align: "right" },
  { title: "runs dry" }
] as const

const cellsOf = (row: Row, now: number, { bad, good }: Style): ReadonlyArray<string> => {
  const known = row.usage !== null
  const time = (at: string | null, none: string) => (at === null ? none : until(Date.parse(at), now))
  return [
    row.id,
    row.account ?? "–",
    row.health === "live" ? good(row.health) : bad(row.health),
    row.limit === null ? (known ? "none" : "–") : `${usd(row.limit)} ${row.limitReset ?? "once"}`,
    row.remaining === null ? "–" : usd(row.remaining),
    time(row.resetsAt, row.limit === null ? "–" : "never"),
    row.usageToday === null ? "–" : usd(row.usageToday),
    row.remaining === null
      ? "–"
      : time(row.exhaustedAt, row.resetsAt === null ? "not soon" : "not before its reset")
  ]
}

const run = Effect.fnUntraced(function* (json: boolean) {
  const { keys } = yield* OpenRouter.OpenRouter
  const statuses = yield* keys
  const now = yield* Clock.currentTimeMillis
  const rows = statuses.map((status) => rowOf(status, now))
  const live = rows.filter(({ health }) => health === "live").length
  if (json) yield* Console.log(JSON.stringify({ at: instant(now), usable: live, keys: rows }, undefined, 2))
  else {
    const marks = yield* style
    yield* Console.log(
      table(
        columns,
        rows.map((row) => cellsOf(row, now, marks)),
        marks
      )
    )
    const soonest = rows
      .flatMap(({ exhaustedAt }) => (exhaustedAt === null ? [] : [Date.parse(exhaustedAt)]))
      .toSorted((a, b) => a - b)[0]
    const dry =
      soonest === undefined || soonest <= now ? "" : `; the first runs dry in ${duration(soonest - now)}`
    yield* Console.log(`\n${live} of ${rows.length} keys usable${dry}`)
  }
  if (live === 0) return yield* new Ended({ code: codes.noKey })
})

export const keys = Command.make("keys", { ...Flags.keys, json: Flags.json }, ({ json, ...source }) =>
  run(json).pipe(
    // Each key is read once, by the command itself.
    Effect.provide(Live.layer({ ...source, selector: "least-in-flight", openrouter: { credits: false } }))
  )
).pipe(
  Command.withDescription(
    "Shows every key as OpenRouter sees it now: account, health, cap, what is left, when it resets, and when it runs dry at its present pace. Exits with 4 when none is usable."
  ),
  Command.withShortDescription("Caps, credit left, resets, health and forecast of every key"),
  Command.withExamples([
    { command: "evenkeel keys --simulate=bad-day", description: "Try it without a key" },
    {
      command: "evenkeel keys --json | jq '.keys[] | select(.health != \"live\")'",
      description: "Keys that are of no use"
    }
  ])
)
