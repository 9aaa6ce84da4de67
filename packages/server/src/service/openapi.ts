import { z } from 'zod';
import { errorAnswerBody } from '../http/schemas.js';
import type { Route } from '../routes/route.js';

interface Described {
  readonly version: string;
  readonly needsToken: boolean;
}

/** What this server answers, in OpenAPI 3.1, from the schemas that check its input. */
export function openApiOf(routes: readonly Route[], { version, needsToken }: Described): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes)
    paths[route.path] = {
      ...paths[route.path],
      [route.method.toLowerCase()]: operationOf(route, needsToken),
    };
  return {
    openapi: '3.1.0',
    info: {
      title: 'Antiphon replica',
      version,
      description: 'One replica of an Antiphon cluster. docs/http.md describes values, errors and events.',
      license: { name: 'MIT' },
    },
    paths,
    components: {
      schemas: { Error: schemaOf(errorAnswerBody, 'output') },
      ...(needsToken && { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } }),
    },
  };
}

function operationOf(route: Route, needsToken: boolean): object {
  const { summary, role, body, path } = route;
  const error = { $ref: '#/components/schemas/Error' };
  return {
    operationId: path
      .replace(/^\/(v1\/)?/, '')
      .replaceAll(/[^a-z]+([a-z])/gi, (_, next: string) => next.toUpperCase()),
    summary,
    ...(role !== undefined && { description: `Needs the role \`${role}\` where there are tokens.` }),
    ...(role !== undefined && needsToken && { security: [{ bearer: [] }] }),
    parameters: parametersOf(route),
    ...(body && { requestBody: { required: true, content: json(schemaOf(body, 'input')) } }),
    responses: {
      ...Object.fromEntries(answersOf(route)),
      default: { description: 'An error.', content: json(error) },
    },
  };
}

function answersOf({ answers, type }: Route): [string, object][] {
  return Object.entries(answers).map(([status, { what, schema }]) => {
    const shape = schema === undefined ? { type: 'string' } : schemaOf(schema, 'output');
    return [status, { description: what, content: { [type ?? 'application/json']: { schema: shape } } }];
  });
}

function parametersOf({ query, path }: Route): object[] {
  const { properties = {} } = schemaOf(query, 'input') as { readonly properties?: Record<string, object> };
  const inQuery = Object.entries(properties).map(([name, schema]) => {
    return { name, in: 'query', required: false, schema };
  });
  if (path !== '/v1/changes') return inQuery;
  return [...inQuery, { name: 'Last-Event-ID', in: 'header', required: false, schema: { type: 'string' } }];
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...others } = z.toJSONSchema(schema, { target: 'draft-2020-12', io });
  return others;
}

function json(schema: object): object {
  return { 'application/json': { schema } };
}
