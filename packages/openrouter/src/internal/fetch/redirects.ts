/**
 * Redirects, followed under the lease and on the key of the request, and never off OpenRouter's origin: neither the key
 * nor the prompt goes anywhere else.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { HttpBody, type HttpClient, HttpClientRequest, type HttpClientResponse } from "effect/http"
import * as Transmit from "../transmit.ts"

/** How the caller wants redirects to be taken. */
export const Redirect: Context.Reference<RequestRedirect> = Context.Reference<RequestRedirect>(
  "@evenkeel/openrouter/OpenRouterFetch/Redirect",
  { defaultValue: () => "follow" }
)

/** As many as the Fetch standard allows. */
const most = 20

const statuses = new Set([301, 302, 303, 307, 308])

/** Where the answer sends its reader; `undefined` if it is no redirect. */
export const locationOf = (
  response: HttpClientResponse.HttpClientResponse,
  from: string
): URL | undefined => {
  const { location } = response.headers
  return statuses.has(response.status) && location !== undefined && URL.canParse(location, from)
    ? new URL(location, from)
    : undefined
}

/** The client, following redirects that stay on the origin. Others come back as they are. */
export const followingOn = (origin: string, client: HttpClient.HttpClient): HttpClient.HttpClient =>
  Transmit.around(client, (execute) => (request) => {
    const follow = (request: HttpClientRequest.HttpClientRequest, left: number): ReturnType<typeof execute> =>
      Effect.flatMap(execute(request), (response) =>
        statuses.has(response.status) ? onwards(request, response, left) : Effect.succeed(response)
      )
    const onwards = (
      request: HttpClientRequest.HttpClientRequest,
      response: HttpClientResponse.HttpClientResponse,
      left: number
    ): ReturnType<typeof execute> =>
      Effect.flatMap(Redirect, (redirect) => {
        const url = redirect === "follow" ? locationOf(response, request.url) : undefined
        if (url === undefined || url.origin !== origin || left === 0) return Effect.succeed(response)
        // Read to its end, so that the connection is free again.
        return Effect.andThen(
          Effect.ignore(response.text),
          follow(next(request, response.status, url), left - 1)
        )
      })
    return follow(request, most)
  })

/** The Fetch standard: 303 asks for a look at another place, and 301 and 302 are taken so after a POST. */
const next = (
  request: HttpClientRequest.HttpClientRequest,
  status: number,
  url: URL
): HttpClientRequest.HttpClientRequest => {
  const { headers, method } = request
  const looks =
    status === 303
      ? method !== "GET" && method !== "HEAD"
      : (status === 301 || status === 302) && method === "POST"
  const target = HttpClientRequest.make((looks ? "GET" : method) as "GET")(url.href, { headers })
  if (!looks) return HttpClientRequest.setBody(target, request.body)
  return HttpClientRequest.removeHeader(HttpClientRequest.setBody(target, HttpBody.empty), "content-type")
}
