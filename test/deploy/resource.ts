import { apps, policy, v1 } from 'kubernetes-models';

/** Of a manifest, what the tests look at. */
export interface Resource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: object;
}

export function isResource(value: unknown): value is Resource {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value;
}

interface Validated {
  validate(): void;
}
type Model = new (data: Resource) => Validated;

/** The kinds of the chart, by the schemas of Kubernetes' own OpenAPI description. */
const MODELS: Readonly<Record<string, Model>> = {
  'v1 ConfigMap': v1.ConfigMap,
  'v1 Service': v1.Service,
  'apps/v1 StatefulSet': apps.v1.StatefulSet as unknown as Model,
  'policy/v1 PodDisruptionBudget': policy.v1.PodDisruptionBudget,
};

/** What Kubernetes would refuse, and names that lead nowhere. */
export function problemsOf(resources: readonly Resource[]): string[] {
  return [...resources.flatMap(invalidIn), ...danglingIn(resources)];
}

function invalidIn(resource: Resource): string[] {
  const kind = `${resource.apiVersion} ${resource.kind}`;
  const Model = MODELS[kind];
  if (Model === undefined) return [`${kind} is a kind that the test does not know`];
  try {
    new Model(resource).validate();
    return [];
  } catch (error) {
    return [`${kind}: ${error instanceof Error ? error.message : String(error)}`];
  }
}

interface Named {
  readonly name: string;
}
interface Container {
  readonly volumeMounts: readonly (Named & { readonly mountPath: string })[];
  readonly ports?: readonly Named[];
  readonly args?: readonly string[];
}
interface StatefulSetSpec {
  readonly serviceName: string;
  readonly selector: { readonly matchLabels: Labels };
  readonly template: {
    readonly metadata: { readonly labels: Labels };
    readonly spec: {
      readonly containers: readonly Container[];
      readonly initContainers?: readonly Container[];
      readonly volumes: readonly (Named & { readonly configMap?: Named })[];
    };
  };
  readonly volumeClaimTemplates: readonly { readonly metadata: Named }[];
}
interface ServiceSpec {
  readonly selector: Labels;
  readonly ports?: readonly { readonly targetPort: string }[];
}
type Labels = Readonly<Record<string, string>>;

function danglingIn(resources: readonly Resource[]): string[] {
  const of = (kind: string): readonly Resource[] => resources.filter((one) => one.kind === kind);
  const problems: string[] = [];
  for (const set of of('StatefulSet')) {
    const spec = set.spec as StatefulSetSpec;
    const { labels } = spec.template.metadata;
    const { containers, initContainers = [], volumes } = spec.template.spec;
    const has = (kind: string, name: string): boolean =>
      of(kind).some(({ metadata }) => metadata.name === name);
    if (!has('Service', spec.serviceName)) problems.push(`there is no Service ${spec.serviceName}`);
    if (!isWithin(spec.selector.matchLabels, labels))
      problems.push('the StatefulSet does not select its pods');
    for (const { configMap } of volumes)
      if (configMap !== undefined && !has('ConfigMap', configMap.name))
        problems.push(`there is no ConfigMap ${configMap.name}`);
    const known = [...volumes, ...spec.volumeClaimTemplates.map(({ metadata }) => metadata)].map(
      ({ name }) => name,
    );
    for (const { volumeMounts } of [...containers, ...initContainers])
      for (const { name } of volumeMounts)
        if (!known.includes(name)) problems.push(`there is no volume ${name}`);
    const ports = containers.flatMap((container) => (container.ports ?? []).map(({ name }) => name));
    for (const service of of('Service')) {
      const { selector, ports: wanted = [] } = service.spec as ServiceSpec;
      if (!isWithin(selector, labels)) problems.push(`the Service ${service.metadata.name} selects no pod`);
      for (const { targetPort } of wanted)
        if (!ports.includes(targetPort)) problems.push(`no container has the port ${targetPort}`);
    }
  }
  return problems;
}

function isWithin(some: Labels, all: Labels): boolean {
  return Object.entries(some).every(([name, value]) => all[name] === value);
}
