"""Tenants, and permissions of roles in them."""

from controller import Case, login


class Tenants(Case):
    def setUp(self):
        super().setUp()
        self.tenant = self.create("tenant", "t", local=True)

    def test_objects_are_visible_in_their_tenant_only(self):
        pool = self.create("pool", "inside", tenant=self.tenant["name"])
        self.assertIn(self.tenant["uuid"], pool["tenant_ref"])
        for where in ({"tenant": self.tenant["name"]}, {"tenant_uuid": self.tenant["uuid"]}):
            with self.subTest(**where):
                self.assertEqual(self.api.get_object_by_name("pool", pool["name"], **where)["uuid"], pool["uuid"])
        self.assertIsNone(self.api.get_object_by_name("pool", pool["name"]))
        self.assertEqual(self.api.get("pool", params={"name": pool["name"]}).json()["count"], 0)
        everywhere = self.api.get_object_by_name("pool", pool["name"], tenant="*")
        self.assertEqual(everywhere["uuid"], pool["uuid"])

    def test_a_session_of_a_tenant(self):
        own = login(tenant=self.tenant["name"])
        self.assertEqual(own.post("pool", data={"name": self.name("own")}).status_code, 201)
        self.assertIsNotNone(own.get_object_by_name("pool", self.name("own")))
        self.assertIsNone(own.get_object_by_name("pool", self.name("own"), tenant="admin"))
        own.tenant = "admin"
        self.assertIsNone(own.get_object_by_name("pool", self.name("own")))
        by_uuid = login(tenant_uuid=self.tenant["uuid"])
        by_uuid.avi_credentials.tenant = None
        self.assertIsNotNone(by_uuid.get_object_by_name("pool", self.name("own")))

    def test_names_are_unique_per_tenant(self):
        self.create("pool", "same")
        self.create("pool", "same", tenant=self.tenant["name"])

    def test_an_unknown_tenant_is_refused(self):
        reply = self.api.get("pool", tenant=self.name("nowhere"))
        self.assertRefused(reply, 403, "Tenant '%s' does not exist!" % self.name("nowhere"))

    def test_tenants_are_listed_in_every_tenant(self):
        self.assertIn("admin", self.names("tenant", tenant=self.tenant["name"]))
        self.assertIn(self.tenant["name"], self.names("tenant"))

    def test_a_tenant_with_objects_cannot_be_deleted(self):
        pool = self.create("pool", "inside", tenant=self.tenant["name"])
        self.assertGreaterEqual(self.api.delete("tenant/" + self.tenant["uuid"]).status_code, 400)
        reply = self.api.delete("pool/" + pool["uuid"], tenant=self.tenant["name"])
        self.assertEqual(reply.status_code, 204)
        self.assertEqual(self.api.delete("tenant/" + self.tenant["uuid"]).status_code, 204)


class Permissions(Case):
    def setUp(self):
        super().setUp()
        self.tenant = self.create("tenant", "t", local=True)

    def role(self, name, **privileges):
        listed = [{"resource": "PERMISSION_" + name, "type": type} for name, type in privileges.items()]
        return self.create("role", name, privileges=listed)["name"]

    def as_user(self, role):
        username, password = self.user("limited", role, tenant=self.tenant["name"])
        return login(username, password, tenant=self.tenant["name"])

    def test_a_role_grants_its_privileges_only(self):
        own = self.as_user(self.role("pools", POOL="WRITE_ACCESS", NETWORK="READ_ACCESS"))
        name = self.name("p")
        self.assertEqual(own.post("pool", data={"name": name}).status_code, 201)
        self.assertIsNotNone(own.get_object_by_name("pool", name))
        self.assertEqual(own.get("network").status_code, 200)
        text = "User '%s' is not authorized to " % own.username
        writing = own.post("network", data={"name": name, "cloud_ref": "/api/cloud/?name=Default-Cloud"})
        self.assertRefused(writing, 403, text + "write on resource")
        self.assertRefused(own.get("virtualservice"), 403, text + "read on resource")
        self.assertEqual(self.names("network", tenant=self.tenant["name"], name=name), [])

    def test_a_role_applies_in_its_tenant_only(self):
        own = self.as_user(self.role("pools", POOL="WRITE_ACCESS"))
        self.assertEqual(own.get("pool").status_code, 200)
        self.assertRefused(own.get("pool", tenant="admin"), 403)

    def test_administrative_roles_cannot_be_limited_to_a_tenant(self):
        role = self.role("reaching", TENANT="WRITE_ACCESS")
        access = {"role_ref": "/api/role/?name=" + role, "tenant_ref": "/api/tenant/?name=" + self.tenant["name"]}
        body = {"name": self.name("u"), "username": self.name("u"), "password": "Secret-Enough-1"}
        reply = self.api.post("user", data={**body, "access": [access]})
        text = "Cannot use Role %s with access to Controller, Role, Tenant or User in non-admin tenant"
        self.assertRefused(reply, 400, text % role)
