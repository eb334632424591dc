{{- define "quorate-cluster.name" -}}
{{ .Values.nameOverride | default .Release.Name }}
{{- end }}
