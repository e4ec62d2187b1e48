// Reads manifests of custom resources, a JSON array, from stdin. Prints what is wrong with them, and
// exits with 1 if anything is; a kind that it does not know is wrong as well.

import { readFileSync } from "node:fs";

import { HTTPRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1/HTTPRoute";
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const KINDS = new Map([
  ["gateway.networking.k8s.io/v1 HTTPRoute", HTTPRoute],
  ["keda.sh/v1alpha1 ScaledObject", ScaledObject],
  ["monitoring.coreos.com/v1 PrometheusRule", PrometheusRule],
  ["monitoring.coreos.com/v1 ServiceMonitor", ServiceMonitor],
]);

for (const manifest of JSON.parse(readFileSync(0, "utf8"))) {
  const name = `${manifest.apiVersion} ${manifest.kind}`;
  try {
    const Kind = KINDS.get(name);
    if (Kind === undefined) throw new Error("no schema for it");
    new Kind(manifest).validate();
  } catch (error) {
    console.log(`${name} ${manifest.metadata?.name}: ${error.message}`);
    process.exitCode = 1;
  }
}
