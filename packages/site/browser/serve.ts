/**
 * The site as a plain server of files would serve it, on loopback.
 */
import { existsSync, readFileSync, statSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { extname, join } from "node:path"

const types: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2"
}

export interface Served {
  readonly origin: string
  readonly close: () => Promise<void>
}

export const serve = async (folder: string): Promise<Served> => {
  const fileOf = (url: string): string => {
    const path = decodeURIComponent(new URL(url, "http://localhost").pathname)
    return join(folder, path.endsWith("/") ? `${path}index.html` : path)
  }
  const server = createServer(({ url = "/" }, response) => {
    const file = fileOf(url)
    const found = file.startsWith(folder) && existsSync(file) && statSync(file).isFile()
    const shown = found ? file : join(folder, "404.html")
    response.writeHead(found ? 200 : 404, {
      "content-type": types[extname(shown)] ?? "application/octet-stream"
    })
    response.end(readFileSync(shown))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
}
