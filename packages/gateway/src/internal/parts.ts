import type { HttpRouter } from "effect/http"
import type { Balancer, KeyPool } from "@evenkeel/core"
import type { OpenRouter } from "@evenkeel/openrouter"
import type { Meter } from "./metrics.ts"
import type { Settings } from "./settings.ts"
import type { State } from "./state.ts"
import type { Traffic } from "./traffic.ts"

/** What the routes are made of. */
export interface Parts {
  readonly settings: Settings
  readonly state: State
  readonly openrouter: OpenRouter.OpenRouter["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  readonly pool: KeyPool.KeyPool["Service"]
  readonly router: HttpRouter.HttpRouter
  readonly meter: Meter
  /** What the page shows; `undefined` where there is none. */
  readonly traffic: Traffic | undefined
}
