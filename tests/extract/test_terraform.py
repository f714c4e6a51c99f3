"""Terraform: objects of a cluster in the API's own names, values of charts, and the clouds' own resources."""

from __future__ import annotations

import sys

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, Launch, Manifest
from vramguard.link.cluster import cluster
from vramguard.link.deployments import deployments
from vramguard.link.helm import composed
from vramguard.source import Document, kind_of, read

DEPLOYMENT = """\
resource "kubernetes_deployment_v1" "llama" {
  metadata {
    name = "llama"
    labels = { app = "llama", "a/b_c" = var.label }
  }
  spec {
    replicas = 2
    template {
      metadata { labels = { app = "llama" } }
      spec {
        termination_grace_period_seconds = 90
        node_selector = { "cloud.google.com/gke-accelerator" = "nvidia-l4" }
        container {
          name  = "server"
          image = "vllm/vllm-openai:v0.16.0"
          args  = ["--model", "org/model", "--port=${var.port}"]
          resources {
            limits = { "nvidia.com/gpu" = 1 }
          }
          port { container_port = 8000 }
          readiness_probe {
            http_get {
              path = "/health"
              port = 8000
            }
          }
          dynamic "liveness_probe" {
            for_each = var.probes
            content {}
          }
        }
        dynamic "toleration" {
          for_each = var.tolerations
          content { key = toleration.value }
        }
      }
    }
  }
}
"""


def facts_of(text: str, **files: str) -> Facts:
    every = {"infra/main.tf": text, **{name.replace("__", "/").replace("_", "."): held for name, held in files.items()}}
    documents = [read(path, held.encode(), kind=kind_of(path)) for path, held in every.items() if kind_of(path)]
    found = [fact for document in documents if isinstance(document, Document) for fact in extract(document)]
    facts = composed(Facts(found, paths=every), lambda path: every[path].encode() if path in every else None)
    return facts.adding(deployments(facts))


def objects(text: str, **files: str) -> list[Manifest]:
    return facts_of(text, **files).of(Manifest)


def test_a_resource_is_the_object_that_the_provider_sends() -> None:
    (one,) = objects(DEPLOYMENT)
    assert (one.title, one.group, one.form, one.at.line) == ("Deployment/llama", "apps", "kubernetes", 1)
    pod = one.node.get("spec", "template", "spec")
    container = pod.get("containers", 0)
    assert pod.get("terminationGracePeriodSeconds").number() == 90
    assert pod.get("nodeSelector", "cloud.google.com/gke-accelerator").text == "nvidia-l4"
    assert container.get("ports", 0, "containerPort").number() == 8000
    assert container.get("readinessProbe", "httpGet", "path").text == "/health"
    assert container.get("resources", "limits", "nvidia.com/gpu").at.line == 18
    assert container.get("readinessProbe").at.line == 21


def test_what_is_filled_in_elsewhere_is_no_literal() -> None:
    (one,) = objects(DEPLOYMENT)
    container = one.node.get("spec", "template", "spec", "containers", 0)
    words = [container.get("args", 2).word(), container.get("livenessProbe").word()]
    words += [
        one.node.get("metadata", "labels", "a/b_c").word(),
        one.node.get("spec", "template", "spec", "tolerations").word(),
    ]
    assert [word.known if word else None for word in words] == [False] * 4
    assert one.node.get("spec", "replicas").word() is not None


def test_it_is_a_surface_with_its_engine() -> None:
    (surface,) = cluster(facts_of(DEPLOYMENT)).surfaces
    assert (surface.name, surface.engine, surface.gpus) == ("Deployment/llama", "vllm", 1)
    assert surface.gpu is not None
    assert (surface.gpu.path, surface.gpu.line) == ("infra/main.tf", 18)


SERVICE = "apiVersion: v1\n{0}kind: Service\n{0}metadata: {{name: a}}\n"


@pytest.mark.parametrize(
    ("held", "line"),
    [
        ("kubectl_manifest|yaml_body = <<-EOT\n    " + SERVICE.format("    ") + "  EOT\n", 4),
        ("kubectl_manifest|yaml_body = <<EOT\n" + SERVICE.format("") + "EOT\n", 4),
        ("kubernetes_manifest|manifest = yamldecode(<<-EOT\n  " + SERVICE.format("  ") + "  EOT\n  )\n", 4),
        (
            'kubernetes_manifest|manifest={\n  apiVersion = "v1"\n  kind = "Service"\n  metadata = {name = "a"}\n}\n',
            4,
        ),
    ],
)
def test_manifests_as_texts_and_as_values(held: str, line: int) -> None:
    kind, _, body = held.partition("|")
    (one,) = objects(f'resource "{kind}" "x" {{\n{body}}}\n')
    assert (one.title, one.form) == ("Service/a", "kubernetes")
    assert one.at.line == line
    assert one.node.get("metadata", "name").at.line == 5


@pytest.mark.parametrize(
    "held",
    [
        'yaml_body = file("${path.module}/a.yaml")',
        'yaml_body = templatefile("a.yaml", { name = "a" })',
        "yaml_body = var.manifest",
        "yaml_body = <<EOT\n%{ if var.x }\nkind: Service\napiVersion: v1\n%{ endif }\nEOT\n",
        "yaml_body = each.value",
    ],
)
def test_what_stands_elsewhere_says_nothing_here(held: str) -> None:
    assert objects(f'resource "kubectl_manifest" "x" {{\n{held}\n}}\n') == []


def test_resources_of_a_cloud_are_as_they_are_written() -> None:
    text = (
        'resource "google_container_node_pool" "gpu" {\n  node_config {\n'
        '    guest_accelerator { type = "nvidia-l4" }\n  }\n}\nresource "aws_iam_role" "x" {}\n'
        'module "eks" { source = "terraform-aws-modules/eks/aws" }\n'
    )
    pool, module = objects(text)
    assert (pool.form, pool.kind, pool.name) == ("terraform", "google_container_node_pool", "gpu")
    accelerator = pool.node.get("node_config", 0, "guest_accelerator", 0, "type")
    assert (accelerator.text, accelerator.at.line, accelerator.at.column) == ("nvidia-l4", 3, 32)
    assert (module.kind, module.name) == ("module", "eks")


RELEASE = """\
resource "helm_release" "llm" {
  name  = "llm"
  chart = "${path.module}/../chart"
  values = [<<-EOT
    replicas: 5
  EOT
  ]
  set {
    name  = "image.tag"
    value = "v9"
  }
}
"""


def test_a_release_of_a_chart_of_the_repository_is_a_build_of_it() -> None:
    template = "apiVersion: v1\nkind: A\nreplicas: {{ .Values.replicas }}\ntag: {{ .Values.image.tag }}\n"
    found = objects(
        RELEASE,
        chart__Chart_yaml="name: llm\n",
        chart__values_yaml="replicas: 1\nimage: {tag: v1}\n",
        chart__templates__a_yaml=template,
    )
    one = next(one for one in found if one.kind == "A" and "infra/main.tf" in one.builds)
    places = [
        (one.node.get(key).text, one.node.get(key).at.path, one.node.get(key).at.line) for key in ("replicas", "tag")
    ]
    assert places == [("5", "infra/main.tf", 5), ("v9", "infra/main.tf", 10)]


def test_values_of_a_chart_that_stands_elsewhere_launch() -> None:
    text = RELEASE.replace("${path.module}/../chart", "vllm-stack").replace(
        "replicas: 5",
        "servingEngineSpec: {modelSpec: [{name: a, repository: vllm/vllm-openai, modelURL: org/m, requestGPU: 2}]}",
    )
    (launch,) = facts_of(text).of(Launch)
    assert (launch.name, launch.hardware.gpus, launch.at.line) == ("a", 2, 5)


@pytest.mark.parametrize(
    "text",
    [
        'resource "kubernetes_x" "a" {',
        "gpu = " + "[" * 5000 + "]" * 5000,
        "gpu = 1\n" + "a = <<X\n" * 2000,
        "gpu = 1\n" + "/*" * 2000,
        "gpu = " + "(" * 100 + "1" + ")" * 100,
        "gpu = " + "!" * 3000 + "true",
        "gpu = 1\nx = " + " + ".join(["1"] * 3000),
        "gpu = 1\nx = " + "a ? b : " * 1000 + "c",
        "gpu = <<A\n" + "\n" * 100_000,
        'gpu = "' + "${" * 100 + "1" + "}" * 100 + '"',
    ],
)
def test_hostile_files_say_nothing_and_end(text: str) -> None:
    document = read("a.tf", text.encode(), kind="hcl")
    assert isinstance(document, Document)
    assert list(extract(document)) == []


@pytest.mark.parametrize("value", ["1." + "0" * 37 + "e5", "1" * 5000, '"\\ud800"', '"\\U00110000"'])
def test_a_value_that_nobody_writes_is_read_as_a_text_that_can_be_printed(value: str) -> None:
    for one in objects(
        DEPLOYMENT.replace("replicas = 2", f"replicas = {value}", 1) + f"\nlocals {{ gpu = {value} }}\n"
    ):
        str(one.node.value).encode()


def test_without_the_extra_there_is_one_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hcl2", None)
    (one,) = objects(DEPLOYMENT)
    assert (one.form, one.name) == ("terraform-unread", "python-hcl2 is not installed")


def test_a_file_that_nobody_asks_for_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hcl2", None)
    assert objects('variable "region" { default = "eu" }\n') == []
