/**
 * The classifier's table, in the order in which it is read: the first row that matches wins.
 *
 * Each block is a status. Within one, a limit that names itself goes first, then the signs of who speaks, then messages,
 * and the bare status last (OpenRouter's documentation, "Errors and debugging" and "Limits"). Numbers that no answer
 * gives stand beside it.
 */
import { row } from "./row.ts"
// oxfmt-ignore
import {
  any, budgetScope, byok, deprecated, edge, emptyAccount, flagged, flaggedSaid, freeTier, guardrailBudget, inFlightBudget,
  keyCap, keyCapNamed, keyCapSaid, managementKey, modelUnknown, noEndpoints, overloaded, passing, policyExcluded,
  policyViolation, pooled, provider, resetNamed, routedAway, sharedPool, tooDearForAccount, tooDearForKey, tooLong,
  workspaceBudget, workspaceBudgetSaid
} from "./signs.ts"
import { after, budgetReset, capReset, freeReset, minute, rateReset, second } from "./until.ts"

const in2s = after(2 * second)
const in5s = after(5 * second)
const in5min = after(5 * minute)
/** The request's own. */
const model = "upstream"
/** Codes that only Cloudflare has. */
const cloudflare = [520, 521, 522, 523, 525, 526, 527]

// oxfmt-ignore
export const rows = [
  //  class                     status           when                 scope        reason          retryable  confidence  and
  // Pages of the edge, or of a proxy: they know neither keys nor accounts, and every key would go by the same way.
  row("edge-blocked",           [401, 402, 403], edge,                "host",      "unavailable",  "backoff", "inferred", { until: in5s }),
  row("edge-throttled",         429,             edge,                "host",      "throttled",    "backoff", "inferred", { until: in5s }),
  // The edge gave up waiting: whoever it waited for may have gone on.
  row("edge-timed-out",         [504, 524],      edge,                "host",      "unavailable",  "backoff", "inferred", { billed: "maybe" }),
  row("edge-unavailable",       "5xx",           edge,                "host",      "unavailable",  "backoff", "inferred"),

  // 401: with the signs of a provider it is the account's own key there (BYOK) that was refused; OpenRouter's is fine.
  row("upstream-unavailable",   401,             pooled,              "upstream",  "unavailable",  "backoff", "inferred"),
  row("byok-rejected",          401,             provider,            "account",   "rejected",     "rotate",  "inferred", { until: in5min, within: model }),
  row("key-rejected",           401,             any,                 "key",       "rejected",     "rotate",  "stated"),

  // 402: a hold on the estimated cost of what is in flight passes as requests settle, in seconds.
  row("in-flight-budget",       402,             inFlightBudget,      "account",   "throttled",    "rotate",  "stated",   { until: in2s }),
  // One request that is too dear benches nobody: it goes to a key that has more.
  row("over-key-headroom",      402,             tooDearForKey,       "key",       "insufficient", "rotate",  "stated"),
  row("key-cap-spent",          402,             keyCap,              "key",       "exhausted",    "rotate",  "stated",   { until: capReset }),
  row("over-account-balance",   402,             tooDearForAccount,   "account",   "insufficient", "rotate",  "stated"),
  row("account-exhausted",      402,             emptyAccount,        "account",   "exhausted",    "rotate",  "stated"),
  // A provider wants money: from the account, if it came with its own key, or else from OpenRouter.
  row("byok-exhausted",         402,             byok,                "account",   "exhausted",    "rotate",  "inferred", { within: model }),
  row("upstream-unavailable",   402,             provider,            "upstream",  "unavailable",  "backoff", "inferred"),
  row("payment-required",       402,             any,                 "account",   "exhausted",    "rotate",  "guessed"),

  // 403
  row("key-cap-spent",          403,             keyCapNamed,         "key",       "exhausted",    "rotate",  "stated",   { until: capReset }),
  row("guardrail-budget-spent", 403,             guardrailBudget,     budgetScope, "exhausted",    "rotate",  "stated",   { until: budgetReset }),
  row("workspace-budget-spent", 403,             workspaceBudget,     "workspace", "exhausted",    "rotate",  "stated",   { until: capReset }),
  // Trying the same prompt on another key would be evasion, and would disable one key after the other.
  row("moderated",              403,             flagged,             "request",   "rejected",     "never",   "stated"),
  row("moderated",              403,             flaggedSaid,         "request",   "rejected",     "never",   "stated"),
  row("routing-refused",        403,             routedAway,          "request",   "rejected",     "never",   "stated"),
  row("key-cap-spent",          403,             keyCapSaid,          "key",       "exhausted",    "rotate",  "stated",   { until: capReset }),
  row("workspace-budget-spent", 403,             workspaceBudgetSaid, "workspace", "exhausted",    "rotate",  "stated",   { until: capReset }),
  row("routing-refused",        403,             provider,            "request",   "rejected",     "never",   "inferred"),
  row("key-misused",            403,             managementKey,       "key",       "rejected",     "rotate",  "inferred"),
  // Weak evidence against the key: it feeds the circuit breaker, and benches nothing by itself.
  row("forbidden",              403,             any,                 "key",       "unavailable",  "rotate",  "guessed"),

  // 404: nobody's fault, whatever the key; but users may want to switch to another model, or workspace.
  row("model-unavailable",      404,             passing,             "upstream",  "unavailable",  "backoff", "stated"),
  row("model-deprecated",       404,             deprecated,          "request",   "rejected",     "never",   "stated"),
  row("privacy-restricted",     404,             policyExcluded,      "request",   "rejected",     "never",   "inferred"),
  row("no-endpoints",           404,             noEndpoints,         "request",   "rejected",     "never",   "stated"),
  row("not-found",              404,             any,                 "request",   "rejected",     "never",   "stated"),

  // 408: whoever was waited for may have gone on.
  row("timed-out",              408,             any,                 "upstream",  "unavailable",  "backoff", "guessed",  { billed: "maybe" }),

  // 429: the free models of the account alone, its paid ones go on.
  row("free-tier-spent",        429,             freeTier,            "account",   "throttled",    "rotate",  "stated",   { until: freeReset, within: ":free" }),
  row("upstream-throttled",     429,             sharedPool,          "upstream",  "throttled",    "backoff", "stated"),
  // A limit at a provider to the account's own key there: that model of that account alone.
  row("byok-throttled",         429,             byok,                "account",   "throttled",    "rotate",  "stated",   { until: in5s, within: model }),
  row("account-throttled",      429,             resetNamed,          "account",   "throttled",    "rotate",  "inferred", { until: rateReset }),
  row("upstream-throttled",     429,             provider,            "upstream",  "throttled",    "backoff", "stated"),
  row("throttled",              429,             any,                 "upstream",  "throttled",    "backoff", "guessed"),

  // The request itself: never retried, whoever answers.
  row("moderated",              "4xx",           policyViolation,     "request",   "rejected",     "never",   "stated"),
  row("model-not-found",        400,             modelUnknown,        "request",   "rejected",     "never",   "stated"),
  row("too-long",               400,             tooLong,             "request",   "rejected",     "never",   "stated"),
  row("bad-request",            "4xx",           any,                 "request",   "rejected",     "never",   "stated"),

  // 5xx: 524 is the patience of Cloudflare; OpenRouter sends it itself too.
  row("timed-out",              [504, 524],      any,                 "upstream",  "unavailable",  "backoff", "inferred", { billed: "maybe" }),
  row("upstream-unavailable",   "5xx",           overloaded,          "upstream",  "unavailable",  "backoff", "stated"),
  row("upstream-unavailable",   529,             any,                 "upstream",  "unavailable",  "backoff", "inferred"),
  row("edge-unavailable",       cloudflare,      any,                 "host",      "unavailable",  "backoff", "guessed"),
  row("unavailable",            "5xx",           any,                 "upstream",  "unavailable",  "backoff", "guessed"),

  // What is no error by its status, such as a redirect that was not followed.
  row("unknown",                "any",           any,                 "request",   "rejected",     "never",   "guessed")
]
