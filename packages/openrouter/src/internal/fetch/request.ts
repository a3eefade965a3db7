/**
 * What a caller of the fetch gives, made ready to be sent more than once.
 */
import { HttpBody, HttpClientRequest } from "effect/http"
import { nothing, requestFactsOf, type RequestFacts } from "../requestFacts.ts"

export interface Outgoing {
  readonly http: HttpClientRequest.HttpClientRequest
  readonly url: URL
  /** The parsed body of a request in JSON. */
  readonly json: unknown
  readonly facts: RequestFacts
  readonly redirect: RequestRedirect
  /** What else the caller wants of the underlying fetch, such as a dispatcher; `undefined` if that is nothing. */
  readonly init: RequestInit | undefined
}

/** The address that a fetch is called with; one that is none is for the platform's fetch to refuse. */
export const urlOf = (input: RequestInfo | URL): string =>
  input instanceof Request ? input.url : String(input)

/**
 * The caller's own signal. That of a `Request` made here would follow it through a weak reference, and an abort could be
 * lost with it.
 */
export const signalOf = (input: RequestInfo | URL, init: RequestInit | undefined): AbortSignal | undefined =>
  (init?.signal === undefined && input instanceof Request ? input.signal : init?.signal) ?? undefined

/**
 * Headers that speak of one connection, or of one body as it was encoded. Without `accept-encoding` a client that decodes
 * asks for what it can decode, and one that does not is sent what needs no decoding.
 */
const ofConnection = [
  "accept-encoding",
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "transfer-encoding",
  "upgrade"
]

/** What is asked, with its body in memory: another key may need it again. */
interface Asked {
  readonly method: string
  readonly url: URL
  readonly headers: Headers
  readonly body: string | Uint8Array | undefined
  readonly redirect: RequestRedirect
}

/** The request with its body in memory: another key may need it again. */
export const outgoing = (
  input: RequestInfo | URL,
  init: RequestInit | undefined,
  defaults: Readonly<Record<string, string>>
): Outgoing | Promise<Outgoing> => {
  const post = plainPost(input, init)
  return post === undefined
    ? read(input, init).then((asked) => made(asked, init, defaults))
    : made(post, init, defaults)
}

/**
 * Nearly every request to a model is a text that is posted to an address. The platform's `Request` would take longer over it than
 * all the rest takes, and has nothing to add.
 */
const plainPost = (input: RequestInfo | URL, init: RequestInit | undefined): Asked | undefined => {
  if (init?.method !== "POST" || typeof init.body !== "string" || input instanceof Request) return undefined
  const url = new URL(input)
  // An address with a name and a password is for the platform to refuse.
  if (url.username !== "" || url.password !== "") return undefined
  const headers = new Headers(init.headers)
  if (!headers.has("content-type")) headers.set("content-type", "text/plain;charset=UTF-8")
  return { method: "POST", url, headers, body: init.body, redirect: init.redirect ?? "follow" }
}

const read = async (input: RequestInfo | URL, init: RequestInit | undefined): Promise<Asked> => {
  const request = new Request(input, init)
  const body = request.body === null ? undefined : new Uint8Array(await request.arrayBuffer())
  const { headers, method, redirect, url } = request
  return { method, url: new URL(url), headers, body, redirect }
}

const made = (
  { body, headers: own, method, redirect, url }: Asked,
  init: RequestInit | undefined,
  defaults: Readonly<Record<string, string>>
): Outgoing => {
  const headers: Record<string, string> = { ...defaults }
  for (const [name, value] of own) headers[name] = value
  for (const name of ofConnection) delete headers[name]
  url.hash = ""
  // As text: the parts of a URL object would be encoded anew.
  const plain = HttpClientRequest.make(method as "POST")(url.href, { headers })
  const contentType = headers["content-type"] ?? "application/octet-stream"
  const json = body !== undefined && contentType.includes("json") ? parse(body) : undefined
  const content =
    typeof body === "string"
      ? HttpBody.text(body, contentType)
      : body && HttpBody.uint8Array(body, contentType)
  return {
    http: content === undefined ? plain : HttpClientRequest.setBody(plain, content),
    url,
    json,
    facts:
      json === undefined || content === undefined
        ? nothing
        : requestFactsOf(json, content.contentLength, headers),
    redirect,
    init: restOf(init)
  }
}

/** What else the caller wants of the underlying fetch; `undefined` if that is nothing. */
const restOf = (init: RequestInit | undefined): RequestInit | undefined => {
  const {
    body: _body,
    headers: _headers,
    method: _method,
    redirect: _redirect,
    signal: _signal,
    ...rest
  } = init ?? {}
  return Object.keys(rest).length === 0 ? undefined : { ...rest, redirect: "manual" }
}

const decoder = new TextDecoder()

const parse = (body: string | Uint8Array): unknown => {
  try {
    return JSON.parse(typeof body === "string" ? body : decoder.decode(body))
  } catch {
    return undefined
  }
}
