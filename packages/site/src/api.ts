/**
 * The API reference: one page for each module of each published package, from the doc comments of its sources.
 */
import { join } from "node:path"
import {
  Application,
  Comment,
  ReflectionKind,
  type DeclarationReflection,
  type ProjectReflection,
  type TypeDocOptions
} from "typedoc"
import type { PluginOptions } from "typedoc-plugin-markdown"
import { generated, libraries, root, textOf } from "./repository.ts"

const options: TypeDocOptions & PluginOptions = {
  name: "API reference",
  entryPoints: libraries.map((name) => join(root, "packages", name, "src/index.ts")),
  tsconfig: join(import.meta.dirname, "../tsconfig.api.json"),
  plugin: ["typedoc-plugin-markdown"],
  out: join(root, generated, "api"),
  readme: "none",
  logLevel: "Warn",
  treatWarningsAsErrors: true,
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  disableGit: true,
  outputFileStrategy: "modules",
  excludeScopesInPaths: true,
  hideBreadcrumbs: true,
  hidePageHeader: true,
  useCodeBlocks: true,
  interfacePropertiesFormat: "table",
  classPropertiesFormat: "table",
  typeDeclarationFormat: "table",
  typeAliasPropertiesFormat: "table",
  parametersFormat: "table",
  expandParameters: true,
  tableColumnSettings: { hideModifiers: true },
  pageTitleTemplates: { module: ({ name }) => name }
}

const text = (summary: string) => new Comment([{ kind: "text", text: summary }])

/** The comment at the head of a module says what the module is. */
const headOf = (path: string): string | undefined =>
  /^\/\*\*([\s\S]*?)\*\//
    .exec(textOf(path))?.[1]!
    .replaceAll(/^[ \t]*\* ?/gm, "")
    .trim()

/** A service and an error are shown by what their users see, their members; the class around them is how they are made. */
const plain = (declared: DeclarationReflection): void => {
  const [parent] = declared.extendedTypes ?? []
  if (parent === undefined) return
  const shape = parent.type === "reference" && parent.name === "Shape" ? parent.typeArguments?.[1] : undefined
  declared.children =
    shape?.type === "reflection"
      ? (shape.declaration.children ?? [])
      : (declared.children ?? []).filter((child) => child.kind === ReflectionKind.Property)
  // The fields of an error make a table, and the members of a service a section each.
  declared.groups =
    shape === undefined ? (declared.groups ?? []).filter(({ title }) => title === "Properties") : []
  delete declared.extendedTypes
  delete declared.typeHierarchy
  for (const member of declared.children) {
    member.parent = declared
    delete member.inheritedFrom
  }
}

const documented = (declared: DeclarationReflection): boolean =>
  declared.kind === ReflectionKind.Reference ||
  [declared, ...(declared.signatures ?? []), ...signaturesOfType(declared)].some(({ comment }) =>
    comment?.hasVisibleComponent()
  )

const signaturesOfType = ({ type }: DeclarationReflection) =>
  type?.type === "reflection" ? (type.declaration.signatures ?? []) : []

/** Every export of a package must say what it is. */
const undocumented = (project: ProjectReflection): ReadonlyArray<string> =>
  (project.children ?? []).flatMap((entry) => {
    const search = (declared: DeclarationReflection): ReadonlyArray<string> =>
      (declared.children ?? []).flatMap((child) => [
        ...(documented(child)
          ? []
          : [`${entry.name}: ${child.getFullName().split(".").slice(-2).join(".")}`]),
        ...(child.kind === ReflectionKind.Namespace ? search(child) : [])
      ])
    return search(entry)
  })

/** Writes the pages. Fails when an export has no doc comment, or the compiler or a link of a comment complains. */
export const writeApi = async (): Promise<void> => {
  const app = await Application.bootstrapWithPlugins(options as TypeDocOptions)
  const project = await app.convert()
  if (project === undefined) throw new Error("The sources do not compile under TypeDoc's TypeScript")
  for (const entry of project.children!) {
    const name = entry.name.split("/")[0]!
    if (!libraries.includes(name)) throw new Error(`No package: ${entry.name}`)
    entry.name = `@evenkeel/${name}`
    const summary = headOf(`packages/${name}/src/index.ts`)
    if (summary !== undefined) entry.comment = text(summary)
    for (const module of entry.children ?? []) {
      if (module.kind !== ReflectionKind.Namespace) continue
      const head = headOf(`packages/${name}/src/${module.name}.ts`)
      if (head !== undefined) module.comment = text(head)
    }
  }
  const classes = project.getReflectionsByKind(ReflectionKind.Class) as Array<DeclarationReflection>
  classes.forEach(plain)
  const missing = undocumented(project)
  if (missing.length > 0) throw new Error(`Exports without a doc comment:\n${missing.join("\n")}`)
  app.validate(project)
  await app.generateOutputs(project)
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error("TypeDoc complains, see above")
}
