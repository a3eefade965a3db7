/**
 * A lean `HttpClient` for Node, over undici's dispatch.
 */
export * as UndiciHttpClient from "./UndiciHttpClient.ts"
