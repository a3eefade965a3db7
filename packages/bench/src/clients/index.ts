/**
 * All clients, each loaded only in the process that measures it.
 */
import type { Make } from "../Client.ts"

export interface Entry {
  /** As the tables name it. */
  readonly title: string
  readonly load: () => Promise<Make>
  /** Whether it has streams of its own. */
  readonly streams: boolean
}

const evenkeel = () => import("./evenkeel.ts")
const effect = () => import("./effect.ts")
const sdks = () => import("./sdks.ts")
const entry = (title: string, load: () => Promise<Make>, streams = true): Entry => ({ title, load, streams })

export const clients = {
  dispatch: entry(
    "undici `dispatch`, read in its callbacks",
    async () => (await import("./undici.ts")).dispatching
  ),
  undici: entry("undici `request`", async () => (await import("./undici.ts")).make),
  effect: entry("Effect HttpClient, undici layer", async () => (await effect()).standard),
  effectSilent: entry(
    "Effect HttpClient, undici layer, no spans",
    async () => (await effect()).standardSilent
  ),
  lean: entry("`UndiciHttpClient`", async () => (await effect()).lean),
  leanSilent: entry("`UndiciHttpClient`, no spans", async () => (await effect()).leanSilent),
  unbalanced: entry(
    "`OpenRouter`'s way to send, without balancing",
    async () => (await evenkeel()).unbalanced,
    false
  ),
  chat: entry("**`OpenRouter` on `UndiciHttpClient`**", async () => (await evenkeel()).onLean),
  chatNoDeadline: entry(
    "`OpenRouter` on `UndiciHttpClient`, no deadline",
    async () => (await evenkeel()).withoutDeadline
  ),
  chatTraced: entry("`OpenRouter` on `UndiciHttpClient`, spans", async () => (await evenkeel()).onLeanTraced),
  chatMeasured: entry(
    "`OpenRouter` on `UndiciHttpClient`, metrics and logs",
    async () => (await evenkeel()).onLeanMeasured
  ),
  chatStandard: entry("`OpenRouter` on the standard undici layer", async () => (await evenkeel()).onStandard),
  openai: entry("`openai`, a client per key", async () => (await sdks()).openai),
  openaiFetch: entry("`openai` on `OpenRouterFetch`", async () => (await sdks()).openaiOnFetch),
  openaiLean: entry(
    "`openai` on `OpenRouterFetch` on `UndiciHttpClient`",
    async () => (await sdks()).openaiOnLeanFetch
  ),
  aiSdk: entry("AI SDK, a model per key", async () => (await sdks()).aiSdk),
  openrouterSdk: entry("`@openrouter/sdk`, a client per key", async () => (await sdks()).openrouterSdk)
} satisfies Record<string, Entry>

export type Name = keyof typeof clients
export const names = Object.keys(clients) as ReadonlyArray<Name>
