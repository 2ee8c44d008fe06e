"""Run inside NetBox (`nbshell --command`, after a line `COUNT = ...`): so many hosts of four municipalities, in bulk.

A quarter are devices, the others virtual machines; each has an address of 198.18.0.0/15 (nobody's), tags, custom
fields and one or two services.
"""

from core.models import ObjectType
from dcim.models import Device, DeviceRole, DeviceType, Interface, Manufacturer, Platform, Region, Site
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from extras.models import ConfigContext, CustomField, CustomFieldChoiceSet, Tag, TaggedItem
from ipam.models import IPAddress, Service
from tenancy.models import Tenant
from virtualization.models import Cluster, ClusterType, VirtualMachine, VMInterface

NAMES = {"ange": "Ånge", "bollnas": "Bollnäs", "soderhamn": "Söderhamn", "sundsvall": "Sundsvall"}
# Services of the hosts with this role; the third row of the fleet is the commonest one.
ROLES = {
    "web": [("http", ["tcp/80", "tcp/443"]), ("metrics", ["tcp/9100"])],
    "database": [("postgresql", ["tcp/5432"])],
    "application": [("application", ["tcp/8080"])],
    "file": [("samba", ["tcp/445"])],
    "dns": [("dns", ["tcp/53", "udp/53"]), ("metrics", ["tcp/9100"])],
    "mail": [("smtp", ["tcp/25", "tcp/587"])],
}
RINGS = ("canary", "early", "broad", "broad", "broad", "broad", "broad", "broad")


def made(model, /, **values):
    """One object, saved by the model itself."""
    found = model(**values)
    found.save()
    return found


tenants = [made(Tenant, name=name, slug=slug) for slug, name in NAMES.items()]
region = made(Region, name="Norrland", slug="norrland")
sites = [made(Site, name=f"{t.name} hall {n}", slug=f"{t.slug}-{n}", region=region) for t in tenants for n in (1, 2)]
roles = {slug: made(DeviceRole, name=slug.title(), slug=slug) for slug in ROLES}
platforms = [made(Platform, name=slug, slug=slug) for slug in ("debian-12", "ubuntu-22-04", "windows-server-2022")]
kind = made(ClusterType, name="Hypervisor", slug="hypervisor")
clusters = [made(Cluster, name=f"{t.slug}-pve{n}", type=kind, tenant=t) for t in tenants for n in (1, 2)]
maker = made(Manufacturer, name="Maker", slug="maker")
server = made(DeviceType, manufacturer=maker, model="Server", slug="server")
tags = {name: made(Tag, name=name, slug=name) for name in ("ring-canary", "ring-early", "ring-broad", "backup")}
choices = made(
    CustomFieldChoiceSet, name="criticality", extra_choices=[[word, word.title()] for word in ("low", "normal", "high")]
)
kinds = [ObjectType.objects.get_for_model(model) for model in (Device, VirtualMachine)]
for name, type_, more in (("owner", "text", {}), ("criticality", "select", {"choice_set": choices})):
    made(CustomField, name=name, type=type_, **more).object_types.set(kinds)
made(ConfigContext, name="all", data={"timezone": "Europe/Stockholm", "ntp": ["ntp1.example", "ntp2.example"]})
for tenant in tenants:
    context = made(ConfigContext, name=tenant.slug, data={"syslog": {"host": f"log.{tenant.slug}.example"}})
    context.tenants.add(tenant)
for slug, role in roles.items():
    made(ConfigContext, name=slug, data={"backup": {"set": slug, "keep_days": 30}}).roles.add(role)


def host(model, number, **more):
    """The values that both kinds of host share."""
    place, role = number % len(sites), tuple(roles)[number % len(roles)]
    tenant = tenants[place // 2]
    return model(
        name=f"{tenant.slug}-{role}{number:04d}",
        tenant=tenant,
        site=sites[place],
        role=roles[role],
        platform=platforms[2 if number % 19 == 18 else number % 7 == 6],
        status="planned" if number % 23 == 22 else "active",
        custom_field_data={"owner": f"förvaltning {number % 40}", "criticality": ("low", "normal", "high")[number % 3]},
        **more,
    )


def furnish(model, port_model, link, hosts, first):
    """Interface, primary address, services and tags of these hosts, which are in the database already."""
    type_ = ContentType.objects.get_for_model(port_model)
    extra = {"type": "virtual"} if model is Device else {}
    ports = port_model.objects.bulk_create([port_model(name="eth0", **{link: one}, **extra) for one in hosts])
    texts = [f"198.{18 + n // 60000}.{n // 250 % 240}.{n % 250 + 1}/16" for n in range(first, first + len(hosts))]
    addresses = IPAddress.objects.bulk_create(
        [
            IPAddress(address=text, assigned_object_type=type_, assigned_object_id=port.pk)
            for text, port in zip(texts, ports, strict=True)
        ]
    )
    for one, address in zip(hosts, addresses, strict=True):
        one.primary_ip4 = address
    model.objects.bulk_update(hosts, ["primary_ip4"], batch_size=500)
    parent = ContentType.objects.get_for_model(model)
    Service.objects.bulk_create(
        [
            Service(parent_object_type=parent, parent_object_id=one.pk, name=name, port_mappings=mappings)
            for one in hosts
            for name, mappings in ROLES[one.role.slug]
        ]
    )
    TaggedItem.objects.bulk_create(
        [
            TaggedItem(content_type=parent, object_id=one.pk, tag=tags[slug])
            for number, one in enumerate(hosts)
            for slug in (f"ring-{RINGS[number % len(RINGS)]}", *(["backup"] if number % 2 else []))
        ]
    )


devices = Device.objects.bulk_create([host(Device, n, device_type=server) for n in range(COUNT // 4)])  # noqa: F821
machines = VirtualMachine.objects.bulk_create(
    [
        host(VirtualMachine, n, cluster=clusters[n % len(clusters)], vcpus=2, memory=4096)
        for n in range(len(devices), COUNT)  # noqa: F821
    ]
)
furnish(Device, Interface, "device", devices, 0)
furnish(VirtualMachine, VMInterface, "virtual_machine", machines, len(devices))
# What NetBox's own worker does in the background: contexts are rendered once, not for each request.
call_command("rebuild_config_context_cache")
