; What counts as an entity in TypeScript and TSX. The capture names are explained in code.py.

(class_declaration name: (type_identifier) @name) @class
(abstract_class_declaration name: (type_identifier) @name) @class
(interface_declaration name: (type_identifier) @name) @interface
(enum_declaration name: (identifier) @name) @enum
(function_declaration name: (identifier) @name) @function
(generator_function_declaration name: (identifier) @name) @function
(method_definition name: (_) @name) @method

; const area = (r: number) => …,  const Shape = class {…}
(variable_declarator name: (identifier) @name value: [(arrow_function) (function_expression) (generator_function)]) @function
(variable_declarator name: (identifier) @name value: (class)) @class

; class Circle { area = () => … }
(public_field_definition name: (_) @name value: [(arrow_function) (function_expression)]) @method

; exports.area = function …,  Circle.prototype.area = function …
(assignment_expression left: (member_expression) @name right: [(arrow_function) (function_expression) (generator_function)]) @function
(assignment_expression left: (member_expression) @name right: (class)) @class

; { area: function () … }
(pair key: [(property_identifier) (string)] @name value: (function_expression)) @function

; namespace Shapes { … }
(internal_module name: (_) @name) @namespace
(module name: (_) @name) @namespace

(lexical_declaration (variable_declarator) @inner) @outer
(variable_declaration (variable_declarator) @inner) @outer
(expression_statement (assignment_expression) @inner) @outer
(export_statement declaration: (_) @inner) @outer

[(comment) (decorator)] @lead
