/**
 * What OpenRouter tells about a key (`GET /api/v1/key`), decoded leniently.
 */
import * as Schema from "effect/Schema"
import { exhaustedAt as runsDryAt } from "./internal/credit/forecast.ts"
import { isPeriod, nextReset } from "./internal/credit/resets.ts"
import { loose, Unknowns } from "./internal/lenient.ts"

/**
 * The state of one key. All amounts are in USD; days, weeks (from Monday) and months are those of UTC.
 */
export const KeyInfo = Schema.StructWithRest(
  Schema.Struct({
    /** Masked by OpenRouter; it still shows characters of the secret, so do not log it. */
    label: loose(Schema.String),
    /** The cap; `null` is none. */
    limit: loose(Schema.Finite),
    /** What is left of the cap; `null` is no cap. Not the balance of the account, and it may lag behind. */
    limit_remaining: loose(Schema.Finite),
    /** "daily", "weekly", "monthly", or `null` for a cap that is never filled up again. */
    limit_reset: loose(Schema.String),
    include_byok_in_limit: loose(Schema.Boolean),
    usage: loose(Schema.Finite),
    usage_daily: loose(Schema.Finite),
    usage_weekly: loose(Schema.Finite),
    usage_monthly: loose(Schema.Finite),
    byok_usage: loose(Schema.Finite),
    is_free_tier: loose(Schema.Boolean),
    is_management_key: loose(Schema.Boolean),
    creator_user_id: loose(Schema.String),
    organization_id: loose(Schema.String),
    workspace_id: loose(Schema.String),
    /** ISO 8601. */
    expires_at: loose(Schema.String)
  }),
  [Unknowns]
)

export type KeyInfo = typeof KeyInfo.Type

/** The account that owns the key, as far as OpenRouter says: the organisation, or else the member who made it. */
export const account = (info: KeyInfo): string | undefined =>
  info.organization_id ?? info.creator_user_id ?? undefined

/** When the cap is filled up again, in milliseconds since the epoch; `undefined` if never, or where there is no cap. */
export const resetsAt = (info: KeyInfo, now: number): number | undefined =>
  info.limit != null && isPeriod(info.limit_reset) ? nextReset(info.limit_reset, now) : undefined

/**
 * When the key runs dry, in milliseconds since the epoch, if all who use it go on as they do; `undefined` if it does not
 * before its cap is filled up, or within a year.
 *
 * **Details**
 *
 * The pace is the faster of today's and of this week's, both in UTC and each over an hour at least: a forecast had better be
 * early than late. `CreditReport` has that of one process alone, which is younger and knows of nobody else.
 */
export const exhaustedAt = (info: KeyInfo, now: number): number | undefined => {
  const today = Math.floor(now / day) * day
  const monday = today - ((new Date(now).getUTCDay() + 6) % 7) * day
  const pace = (usage: number | null | undefined, since: number) =>
    (usage ?? 0) / Math.max(1, (now - since) / hour)
  return runsDryAt(
    {
      remaining: info.limit_remaining ?? undefined,
      burnRate: Math.max(pace(info.usage_daily, today), pace(info.usage_weekly, monday)),
      resetsAt: resetsAt(info, now)
    },
    now
  )
}

const hour = 3_600_000
const day = 24 * hour
