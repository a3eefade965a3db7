/**
 * Options that the service and the fetch share, checked and made ready.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import { defaultBaseUrl } from "../BalancedHttpClient.ts"
import type { Attribution } from "../OpenRouter.ts"
import { InvalidOption } from "../OpenRouterError.ts"

/** The address as given, or from `Config`, or OpenRouter's own, without a slash at its end. */
export const baseUrlOf = Effect.fnUntraced(function* (option: string | undefined) {
  const given =
    option ?? (yield* Config.String("OPENROUTER_BASE_URL").pipe(Config.withDefault(defaultBaseUrl)))
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/
  const url = URL.canParse(given) ? new URL(given) : undefined
  if (
    url === undefined ||
    !(url.protocol === "https:" || (url.protocol === "http:" && loopback.test(url.hostname)))
  ) {
    return yield* new InvalidOption({
      option: "baseUrl",
      expected: "an https URL, or an http URL on loopback"
    })
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    return yield* new InvalidOption({
      option: "baseUrl",
      expected: "a URL without credentials, query and fragment"
    })
  }
  // Rebuilt from its parts: an empty query or fragment, or a blank at the end, would swallow the paths.
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "")
})

/** How long a call may take by default; `OpenRouter.Options` says why. */
export const defaultTimeout = "10 minutes"

/** Who is calling, as OpenRouter reads it. */
export const attributionHeaders = (attribution: Attribution | undefined): Record<string, string> => ({
  ...(attribution?.url === undefined ? {} : { "http-referer": attribution.url }),
  ...(attribution?.title === undefined ? {} : { "x-openrouter-title": attribution.title }),
  ...(attribution?.categories === undefined
    ? {}
    : { "x-openrouter-categories": attribution.categories.join(",") })
})
