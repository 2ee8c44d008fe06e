"""Run inside NetBox (`nbshell --command`): two municipalities, about 60 hosts, services, contexts and odd records.

Addresses are of 198.18.0.0/15, which is nobody's (RFC 2544): whoever tries to reach these hosts reaches no one.
"""

from core.models import ObjectType
from dcim.models import Device, DeviceRole, DeviceType, Interface, Manufacturer, Platform, Region, Site
from extras.models import ConfigContext, CustomField, CustomFieldChoiceSet, Tag
from ipam.models import IPAddress, Service
from tenancy.models import Tenant
from virtualization.models import Cluster, ClusterType, VirtualMachine, VMInterface

KINDS = [ObjectType.objects.get_for_model(model) for model in (Device, VirtualMachine)]
HOSTILE = "{{ lookup('pipe', 'id') }}"

NAMES = {"ange": "Ånge", "sundsvall": "Sundsvall"}
tenants = {slug: Tenant.objects.create(name=name, slug=slug) for slug, name in NAMES.items()}
region = Region(name="Västernorrland", slug="vasternorrland")
region.save()
sites = {}
for slug, name in (("ange-hall", "Ånge hall"), ("sundsvall-hall", "Sundsvall hall")):
    sites[slug] = Site.objects.create(name=name, slug=slug, region=region)
roles = {}
for slug in ("web", "database", "file", "application", "monitoring", "loadbalancer", "switch"):
    roles[slug] = DeviceRole(name=slug.title(), slug=slug)
    roles[slug].save()
platforms = {}
for slug in ("debian-12", "ubuntu-22-04", "windows-server-2022"):
    platforms[slug] = Platform(name=slug.title(), slug=slug)
    platforms[slug].save()
kind = ClusterType.objects.create(name="Hypervisor", slug="hypervisor")
clusters = {slug: Cluster.objects.create(name=f"{slug}-pve", type=kind, tenant=tenants[slug]) for slug in tenants}
for name in ("ring-canary", "ring-early", "ring-broad", "window-weeknights", "cluster-web"):
    Tag.objects.create(name=name, slug=name)
choices = CustomFieldChoiceSet.objects.create(
    name="criticality", extra_choices=[[value, value.title()] for value in ("low", "medium", "high", "critical")]
)
for name, type_, more in (("owner", "text", {}), ("criticality", "select", {"choice_set": choices})):
    made = CustomField.objects.create(name=name, type=type_, **more)
    made.object_types.set(KINDS)
for slug, tenant in tenants.items():
    given = {"syslog": {"host": f"log.{slug}.example"}, "kommun": tenant.name}
    context = ConfigContext.objects.create(name=slug, data=given)
    context.tenants.add(tenant)
ConfigContext.objects.create(name="all", data={"timezone": "Europe/Stockholm", "ntp": ["ntp1.example", "ntp2.example"]})


def address(owner, interface_model, text, **link):
    interface = interface_model.objects.create(name="eth0", **link)
    made = IPAddress(address=text, assigned_object=interface)
    made.save()
    if ":" in text:
        owner.primary_ip6 = made
    else:
        owner.primary_ip4 = made
    owner.save()
    return made


def machine(name, tenant, number, *, role="web", ring="broad", platform="debian-12", status="active", text="", **more):
    slug = f"{tenant}-hall"
    made = VirtualMachine(
        name=name,
        tenant=tenants[tenant],
        site=None,
        cluster=clusters[tenant],
        role=roles[role],
        platform=platforms[platform],
        status=status,
        vcpus=2,
        memory=2048,
        **more,
    )
    made.site = sites[slug]
    made.save()
    made.tags.add(Tag.objects.get(slug=f"ring-{ring}"))
    if text != "none":
        address(
            made,
            VMInterface,
            text or f"198.{18 if tenant == 'ange' else 19}.{number // 200}.{number % 200 + 1}/16",
            virtual_machine=made,
        )
    return made


number = 0
for tenant, count in (("ange", 20), ("sundsvall", 30)):
    for index in range(count):
        number += 1
        role = ("web", "database", "file", "application")[index % 4]
        ring = ("canary", "early", "broad", "broad", "broad")[index % 5]
        made = machine(
            f"{tenant}-{role}{index:02d}",
            tenant,
            number,
            role=role,
            ring=ring,
            platform="windows-server-2022" if index % 9 == 8 else "debian-12",
            status="planned" if index % 13 == 12 else "active",
        )
        criticality = ("low", "medium", "high")[index % 3]
        made.custom_field_data = {"owner": f"{tenant} förvaltning {index % 3}", "criticality": criticality}
        made.save()
        if role == "web":
            made.tags.add(Tag.objects.get(slug="cluster-web"))
            Service.objects.create(parent=made, name="HTTP", port_mappings=["tcp/80", "tcp/443"])
        if role == "database":
            Service.objects.create(parent=made, name="postgresql", port_mappings=["tcp/5432"])

maker = Manufacturer.objects.create(name="Maker", slug="maker")
model = DeviceType.objects.create(manufacturer=maker, model="Server", slug="server")
for index in range(4):
    device = Device.objects.create(
        name=f"sundsvall-metal{index}",
        device_type=model,
        role=roles["monitoring"],
        tenant=tenants["sundsvall"],
        site=sites["sundsvall-hall"],
        platform=platforms["debian-12"],
    )
    address(device, Interface, f"198.19.9.{index + 1}/16", device=device, type="virtual")
Device.objects.create(
    name=None,
    device_type=model,
    role=roles["web"],
    tenant=tenants["ange"],
    site=sites["ange-hall"],
    platform=platforms["debian-12"],
)

odd = ["all", "../../etc/passwd", "-oProxyCommand=id", HOSTILE, "\x1b[31mröd\x1b[0m", "rad1\nrad2", "växjö"]
for index, name in enumerate(odd):
    machine(name, "ange", 150 + index)
machine("ange-noip", "ange", 160, text="none")
machine("ange-loop", "ange", 161, text="127.0.0.2/8")
machine("ange-v6", "ange", 162, text="2001:db8:20::10/64")
hostile = machine("ange-template", "ange", 163)
hostile.local_context_data = {"motd": HOSTILE, "ansible_connection": "local", HOSTILE: "key"}
hostile.custom_field_data = {"owner": HOSTILE, "criticality": "low"}
hostile.save()
stray = VirtualMachine.objects.create(name="stray", cluster=clusters["ange"], status="active")
