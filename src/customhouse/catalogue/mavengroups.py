"""The groups of well-known Java artifacts whose archives do not say theirs (Gradle, Ant and Ivy write no pom).

1. Only names that are one project's on Maven Central stand here: an artifact under `spring-core` is Spring's.
2. A name that changed its group has the version from which the later group holds.
3. Names in Tomcat's own distribution differ from those of its artifacts.
"""

from collections.abc import Mapping

_EXACT: Mapping[str, str] = {
    artifact: group
    for group, artifacts in {
        "ch.qos.logback": "logback-access logback-classic logback-core",
        "com.google.code.findbugs": "findbugs-annotations jsr305",
        "com.google.code.gson": "gson",
        "com.google.guava": "guava",
        "com.google.protobuf": "protobuf-java protobuf-java-util",
        "com.h2database": "h2",
        "com.itextpdf": "itextpdf",
        "com.jayway.jsonpath": "json-path",
        "com.microsoft.sqlserver": "mssql-jdbc",
        "com.mysql": "mysql-connector-j",
        "com.squareup.okio": "okio okio-jvm",
        "com.thoughtworks.xstream": "xstream",
        "com.zaxxer": "HikariCP",
        "io.lettuce": "lettuce-core",
        "javax.activation": "activation",
        "javax.jdo": "jdo-api",
        "javax.servlet": "javax.servlet-api servlet-api",
        "javax.transaction": "javax.transaction-api jta transaction-api",
        "javax.xml.bind": "jaxb-api",
        "log4j": "log4j",
        "mysql": "mysql-connector-java",
        "net.bytebuddy": "byte-buddy byte-buddy-agent",
        "net.minidev": "json-smart",
        "net.sourceforge.f2j": "arpack_combined_all",
        "org.apache.ant": "ant ant-launcher",
        "org.apache.avro": "avro",
        "org.apache.commons": "commons-collections4 commons-compress commons-configuration2 commons-csv commons-dbcp2 "
        "commons-email commons-exec commons-jexl3 commons-lang3 commons-math3 commons-pool2 commons-text commons-vfs2",
        "org.apache.httpcomponents": "httpasyncclient httpclient httpcore httpcore-nio httpmime",
        "org.apache.httpcomponents.client5": "httpclient5",
        "org.apache.httpcomponents.core5": "httpcore5 httpcore5-h2",
        "org.apache.kafka": "kafka-clients kafka-streams kafka_2.12 kafka_2.13",
        "org.apache.pdfbox": "fontbox pdfbox",
        "org.apache.thrift": "libfb303 libthrift",
        "org.apache.velocity": "velocity velocity-engine-core",
        "org.apache.xmlbeans": "xmlbeans",
        "org.apache.zookeeper": "zookeeper zookeeper-jute",
        "org.codehaus.jackson": "jackson-core-asl jackson-jaxrs jackson-mapper-asl jackson-xc",
        "org.eclipse.jetty": "jetty-client jetty-http jetty-io jetty-security jetty-server jetty-servlet "
        "jetty-util jetty-webapp",
        "org.freemarker": "freemarker",
        "org.javassist": "javassist",
        "org.jodd": "jodd-core",
        "org.json": "json",
        "org.mariadb.jdbc": "mariadb-java-client",
        "org.mozilla": "rhino",
        "org.objenesis": "objenesis",
        "org.projectlombok": "lombok",
        "org.python": "jython jython-standalone",
        "org.quartz-scheduler": "quartz",
        "org.roaringbitmap": "RoaringBitmap",
        "org.rocksdb": "rocksdbjni",
        "org.springframework": "spring-aop spring-aspects spring-beans spring-context spring-context-support "
        "spring-core spring-expression spring-instrument spring-jcl spring-jdbc spring-jms spring-messaging spring-orm "
        "spring-oxm spring-r2dbc spring-test spring-tx spring-web spring-webflux spring-webmvc spring-websocket",
        "org.scala-lang": "scala-compiler scala-library scala-reflect",
        "org.springframework.amqp": "spring-amqp spring-rabbit",
        "org.springframework.hateoas": "spring-hateoas",
        "org.springframework.kafka": "spring-kafka",
        "org.springframework.retry": "spring-retry",
        "org.thymeleaf": "thymeleaf",
        "org.tukaani": "xz",
        "org.xerial": "sqlite-jdbc",
        "org.xerial.snappy": "snappy-java",
        "org.yaml": "snakeyaml",
        "oro": "oro",
        "redis.clients": "jedis",
        "stax": "stax-api",
        "xalan": "serializer xalan",
        "xerces": "xercesImpl",
        "xml-apis": "xml-apis",
    }.items()
    for artifact in artifacts.split()
} | {
    name: name
    for name in (
        "aopalliance", "cglib", "commons-beanutils", "commons-cli", "commons-codec", "commons-collections",
        "commons-configuration", "commons-dbcp", "commons-digester", "commons-el", "commons-fileupload",
        "commons-httpclient", "commons-io", "commons-jxpath", "commons-lang", "commons-logging", "commons-net",
        "commons-pool", "commons-validator", "joda-time", "junit",
    )
}  # fmt: skip

_PREFIXES = (
    ("aspectj", "org.aspectj"),
    ("hadoop-", "org.apache.hadoop"),
    ("kotlin-stdlib", "org.jetbrains.kotlin"),
    ("kotlinx-coroutines-", "org.jetbrains.kotlinx"),
    ("log4j-", "org.apache.logging.log4j"),
    ("lucene-", "org.apache.lucene"),
    ("micrometer-", "io.micrometer"),
    ("ojdbc", "com.oracle.database.jdbc"),
    ("poi-", "org.apache.poi"),
    ("reactor-netty", "io.projectreactor.netty"),
    ("reactor-core", "io.projectreactor"),
    ("shiro-", "org.apache.shiro"),
    ("slf4j-", "org.slf4j"),
    ("spring-batch-", "org.springframework.batch"),
    ("spring-boot", "org.springframework.boot"),
    ("spring-cloud-", "org.springframework.cloud"),
    ("spring-data-", "org.springframework.data"),
    ("spring-integration-", "org.springframework.integration"),
    ("spring-ldap-", "org.springframework.ldap"),
    ("spring-security-", "org.springframework.security"),
    ("spring-session-", "org.springframework.session"),
    ("spring-ws-", "org.springframework.ws"),
    ("struts2-", "org.apache.struts"),
    ("tomcat-embed-", "org.apache.tomcat.embed"),
    ("undertow-", "io.undertow"),
)

_BOUNCY_CASTLE = ("bcmail-", "bcpg-", "bcpkix-", "bcprov-", "bctls-", "bcutil-")

_SINCE: Mapping[str, tuple[str, int, str]] = {
    "asm": ("asm", 4, "org.ow2.asm"),
    "c3p0": ("c3p0", 1, "com.mchange"),
    "dom4j": ("dom4j", 2, "org.dom4j"),
    "groovy": ("org.codehaus.groovy", 4, "org.apache.groovy"),
    "groovy-all": ("org.codehaus.groovy", 4, "org.apache.groovy"),
    "hibernate-core": ("org.hibernate", 6, "org.hibernate.orm"),
    "hibernate-validator": ("org.hibernate", 6, "org.hibernate.validator"),
    "hsqldb": ("hsqldb", 2, "org.hsqldb"),
    "okhttp": ("com.squareup.okhttp", 3, "com.squareup.okhttp3"),
}

_OF_TOMCAT: Mapping[str, str] = {
    "annotations-api": "tomcat-annotations-api",
    "bootstrap": "tomcat-bootstrap",
    "catalina": "tomcat-catalina",
    "catalina-ant": "tomcat-catalina-ant",
    "catalina-ha": "tomcat-catalina-ha",
    "catalina-ssi": "tomcat-ssi",
    "catalina-storeconfig": "tomcat-storeconfig",
    "catalina-tribes": "tomcat-tribes",
    "el-api": "tomcat-el-api",
    "jasper": "tomcat-jasper",
    "jasper-el": "tomcat-jasper-el",
    "jaspic-api": "tomcat-jaspic-api",
    "jsp-api": "tomcat-jsp-api",
    "servlet-api": "tomcat-servlet-api",
    "websocket-api": "tomcat-websocket-api",
}


def known_group(artifact: str, version: str) -> str:
    """The group of an artifact that is known by its name; "" for others."""
    since = _SINCE.get(artifact)
    if since is not None:
        major = version.partition(".")[0]
        return since[2] if major.isdecimal() and int(major[:9]) >= since[1] else since[0]
    if artifact in _EXACT:
        return _EXACT[artifact]
    if artifact.startswith(_BOUNCY_CASTLE) and artifact.endswith(("-jdk15on", "-jdk15to18", "-jdk18on")):
        return "org.bouncycastle"
    return next((group for prefix, group in _PREFIXES if artifact.startswith(prefix)), "")


def of_tomcat(stem: str) -> str:
    """How the artifact is called that Tomcat's distribution carries under this file name; "" for none of it."""
    return _OF_TOMCAT.get(stem, stem if stem.startswith("tomcat-") else "")
