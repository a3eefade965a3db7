/**
 * Who may call: by the name that was called, by the page that calls, and by its token.
 *
 * A server on loopback is not out of reach: every page that is open in a browser on this machine can send to it. A page may
 * rebind a name of its own to 127.0.0.1, which the `Host` header gives away; or send across origins, which the `Origin`
 * header does. What a page can send without the one or the other is no JSON, and is refused for that (`body.ts`).
 */
import type { HttpServerRequest } from "effect/http"
import { wrong, type Failure } from "./failure.ts"
import type { Settings } from "./settings.ts"

type Request = HttpServerRequest.HttpServerRequest

/** Why a request is not even looked at; `undefined` if it is. */
export const strangerTo = (settings: Settings, { headers }: Request): Failure | undefined => {
  const host = headers["host"] ?? ""
  if (settings.hosts !== undefined && !settings.hosts(host.replace(/:\d+$/, ""))) {
    return wrong(
      403,
      "host_not_allowed",
      `The gateway is not called ${JSON.stringify(host)}: see allowedHosts`
    )
  }
  const { origin } = headers
  if (origin === undefined || settings.origins.includes("*") || settings.origins.includes(origin))
    return undefined
  // Its own page.
  if (URL.canParse(origin) && new URL(origin).host === host) return undefined
  return wrong(
    403,
    "origin_not_allowed",
    `Pages of ${JSON.stringify(origin)} may not call: see allowedOrigins`
  )
}

/** Whether a request has a token, where one is needed. */
export const isKnown = ({ tokens }: Settings, { headers }: Request): boolean => {
  if (tokens === undefined) return true
  const bearer = /^bearer +(\S+) *$/i.exec(headers["authorization"] ?? "")?.[1]
  return tokens(bearer ?? headers["x-api-key"] ?? "")
}

export const unknown: Failure = {
  ...wrong(401, "invalid_api_key", "A token of this gateway is needed, as a bearer token: this one is none"),
  headers: { "www-authenticate": "Bearer" }
}
