{{/* The name of everything: that of the release, which is also what the ids of replicas begin with. */}}
{{- define "antiphon.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "antiphon.selector" -}}
app.kubernetes.io/name: antiphon
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "antiphon.labels" -}}
{{ include "antiphon.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* A probe of the HTTP server: from outside where it listens there, else by a command inside. */}}
{{- define "antiphon.probe" -}}
{{- if .tokens -}}
httpGet: { path: {{ .path }}, port: http }
{{- else -}}
exec:
  command:
    - node
    - -e
    - >-
      fetch('http://127.0.0.1:7070{{ .path }}').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))
{{- end }}
timeoutSeconds: {{ .probe.timeoutSeconds | default 5 }}
periodSeconds: {{ .probe.periodSeconds | default 10 }}
failureThreshold: {{ .probe.failureThreshold | default 3 }}
{{- end -}}
